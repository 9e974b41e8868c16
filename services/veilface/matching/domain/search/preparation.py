"""Makes probes ready to be scored, within the memory that searches share."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from veilface.common.attested import SignedTemplate
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateComparer, TemplateUse
from veilface.matching.domain.comparers import Comparers
from veilface.matching.domain.patience import run_to_its_end
from veilface.matching.domain.search.cost import SearchCost
from veilface.matching.domain.search.room import Room, Share
from veilface.matching.domain.search.scans import GalleryScans
from veilface.matching.domain.search.scorers import PackedScorer, RowScorer, Scorer
from veilface.matching.domain.search.signing import SigningScorer
from veilface.matching.domain.store.snapshots import SegmentSnapshot
from veilface.matching.domain.store.templates import TemplateRecords
from veilface.matching.domain.templates import TemplateDesk, VouchedTemplate
from veilface.matching.domain.tickets import TicketIssuer


@dataclass(frozen=True, slots=True, eq=False)
class ReadyProbe:
    """A probe that can be scored.

    Attributes:
        expand_time_s: How long it took to make it ready, in seconds.
    """

    scorer: SigningScorer
    expand_time_s: float


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
            scorer, expand_time_s = await self._scorer(comparer, probe, share, cost)
            yield ReadyProbe(SigningScorer(scorer, self._tickets, self._compute), expand_time_s)

    async def _scorer(
        self, comparer: TemplateComparer, probe: VouchedTemplate, share: Share, cost: SearchCost
    ) -> tuple[Scorer, float]:
        space = probe.statement.space
        if not comparer.supports_search:
            return RowScorer(self._templates, comparer, probe.ciphertext, space, self._compute, self._storage), 0.0
        begin = time.perf_counter()
        use = probe.statement.use
        prepared = await run_to_its_end(self._compute, comparer.prepare_probe, probe.ciphertext, space, use)
        share.shrink(cost.score_bytes)
        return PackedScorer(self._scans, comparer, prepared, share, cost), time.perf_counter() - begin


def _cost(comparer: TemplateComparer, probe: VouchedTemplate, segments: Sequence[SegmentSnapshot]) -> SearchCost:
    statement = probe.statement
    if not comparer.supports_search:
        return SearchCost.of_rows(len(probe.ciphertext))
    score_count = sum(len(segment.content) for segment in segments)
    return SearchCost.of(comparer, statement.space, statement.use, len(segments), score_count)
