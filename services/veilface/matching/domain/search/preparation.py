"""Makes probes ready to be scored, within the memory that searches share."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from veilface.common.attested import SignedTemplate
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateComparer, TemplateUse
from veilface.matching.domain.comparers import Comparers
from veilface.matching.domain.search.cost import SearchCost
from veilface.matching.domain.search.expansion import Expansion
from veilface.matching.domain.search.room import Room
from veilface.matching.domain.search.scans import GalleryScans
from veilface.matching.domain.search.scorers import PackedScorer, RowScorer
from veilface.matching.domain.search.signing import SigningScorer
from veilface.matching.domain.store.snapshots import SegmentSnapshot
from veilface.matching.domain.store.templates import TemplateRecords
from veilface.matching.domain.templates import TemplateDesk, VouchedTemplate
from veilface.matching.domain.tickets import TicketIssuer


@dataclass(frozen=True, slots=True, eq=False)
class ReadyProbe:
    """A probe that can be scored, or will be soon.

    Attributes:
        expansion: What scoring waits for; None if there is nothing to be made ready.
    """

    scorer: SigningScorer
    expansion: Expansion | None

    @property
    def expand_time_s(self) -> float:
        """How long it took to make it ready, in seconds."""
        return 0.0 if self.expansion is None else self.expansion.seconds


class ProbePreparation:
    """Looks at probes and makes them ready.

    Args:
        desk: Looks at them.
        templates: The stored templates.
        scans: Score packed segments.
        comparers: Of the key versions.
        tickets: Sign the scores.
        compute: Where CPU work runs.
        storage: Where blocking reads run.
    """

    def __init__(
        self,
        *,
        desk: TemplateDesk,
        templates: TemplateRecords,
        scans: GalleryScans,
        comparers: Comparers,
        tickets: TicketIssuer,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._desk = desk
        self._templates = templates
        self._scans = scans
        self._comparers = comparers
        self._tickets = tickets
        self._compute = compute
        self._storage = storage

    async def vouch(self, probe: SignedTemplate) -> VouchedTemplate:
        """See `TemplateDesk.verify`."""
        return await self._desk.verify(probe, TemplateUse.PROBE)

    @asynccontextmanager
    async def ready(
        self, probe: VouchedTemplate, segments: Sequence[SegmentSnapshot], room: Room
    ) -> AsyncIterator[ReadyProbe]:
        """Make a probe ready for these segments of a gallery that it fits. Its memory is held until the block ends.

        Raises:
            InvalidCiphertextError: It is not well-formed.
            ResourceExhaustedError: OVERLOADED if too many wait for the room already, or for a thread.
        """
        comparer = await self._comparers.get(probe.statement.key_version)
        await self._desk.inspect(probe, comparer)
        cost = await self._compute.run(_cost, comparer, probe, segments)
        async with room.take(cost.expand_bytes) as share:
            if not comparer.supports_search:
                space = probe.statement.space
                rows = RowScorer(self._templates, comparer, probe.ciphertext, space, self._compute, self._storage)
                yield ReadyProbe(SigningScorer(rows, self._tickets, self._compute), None)
                return
            expansion = Expansion(probe, comparer, self._compute, lambda: share.shrink(cost.score_bytes))
            try:
                packed = PackedScorer(self._scans, comparer, expansion, share, cost)
                yield ReadyProbe(SigningScorer(packed, self._tickets, self._compute), expansion)
            finally:
                await expansion.close()


def _cost(comparer: TemplateComparer, probe: VouchedTemplate, segments: Sequence[SegmentSnapshot]) -> SearchCost:
    statement = probe.statement
    if not comparer.supports_search:
        return SearchCost.of_rows(len(probe.ciphertext))
    score_count = sum(len(segment.content) for segment in segments)
    return SearchCost.of(comparer, statement.space, statement.use, len(segments), score_count)
