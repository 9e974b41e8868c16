"""1:1 against imported enrollments: they have no template of their own, so their slot of the segment is searched."""

from collections.abc import Sequence
from contextlib import aclosing

import numpy as np

from veilface.common.errors import Reason, UnavailableError
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import PreparedProbe, TemplateComparer
from veilface.matching.domain.patience import run_patiently, run_to_its_end
from veilface.matching.domain.records import ImportedSlot, SegmentPlace
from veilface.matching.domain.search.cost import SearchCost
from veilface.matching.domain.search.room import Room
from veilface.matching.domain.search.scoring import ScoringPass
from veilface.matching.domain.search.windows import SegmentWindows, Window
from veilface.matching.domain.store.snapshots import SegmentSnapshot, SnapshotRecords
from veilface.matching.domain.templates import VouchedTemplate


class ImportedComparisons:
    """Scores single slots.

    Args:
        snapshots: What is in the segments.
        windows: Bring the segments.
        scoring: Makes the passes.
        room: The memory that searches share; this is a small one.
        compute: Where probes are made ready.
        storage: Where blocking reads run.
    """

    def __init__(
        self,
        snapshots: SnapshotRecords,
        windows: SegmentWindows,
        scoring: ScoringPass,
        room: Room,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._snapshots = snapshots
        self._windows = windows
        self._scoring = scoring
        self._room = room
        self._compute = compute
        self._storage = storage

    async def score(
        self, comparer: TemplateComparer, probe: VouchedTemplate, wanted: Sequence[ImportedSlot]
    ) -> list[bytes]:
        """One score ciphertext of one score for each slot.

        Raises:
            UnavailableError: GALLERY_CHANGED if one was erased or moved meanwhile.
            DataLossError: If the imported segment is damaged.
            ResourceExhaustedError: OVERLOADED if too many searches wait already.
        """
        if not wanted:
            return []
        statement = probe.statement
        snapshots = await self._snapshots_of(wanted, statement.key_version)
        cost = await self._compute.run(
            SearchCost.of, comparer, statement.space, statement.use, len(wanted), len(wanted)
        )
        found: dict[ImportedSlot, bytes] = {}
        async with self._room.take(cost.expand_bytes) as share:
            prepared = await run_to_its_end(
                self._compute, comparer.prepare_probe, probe.ciphertext, statement.space, statement.use
            )
            share.shrink(cost.score_bytes)
            async with aclosing(self._windows.walk(list(snapshots.values()), cost.segment_bytes)) as windows:
                async for window in windows:
                    found |= await self._pass(comparer, prepared, window, wanted)
        return [found[each] for each in wanted]

    async def _snapshots_of(
        self, wanted: Sequence[ImportedSlot], key_version: str
    ) -> dict[SegmentPlace, SegmentSnapshot]:
        found: dict[SegmentPlace, SegmentSnapshot] = {}
        for each in wanted:
            snapshot = found.get(each.place)
            if snapshot is None:
                snapshot = await run_patiently(self._storage, self._snapshots.segment, each.place)
            if snapshot is None or not _holds(snapshot, each, key_version):
                raise UnavailableError(Reason.GALLERY_CHANGED, "the gallery was changed while it was read; try again")
            found[each.place] = snapshot
        return found

    async def _pass(
        self, comparer: TemplateComparer, probe: PreparedProbe, window: Window, wanted: Sequence[ImportedSlot]
    ) -> dict[ImportedSlot, bytes]:
        """One pass for everything that is wanted of a window: a segment counts once for each of its slots."""
        packed = {snapshot.place: packed for snapshot, packed in zip(window.snapshots, window.packed, strict=True)}
        here = [each for each in wanted if each.place in packed]
        segments = [packed[each.place].segment for each in here]
        slots = [np.array([each.slot], dtype=np.intp) for each in here]
        (ciphertexts,), _ = await self._scoring.score(comparer, [probe], segments, slots, is_short=True)
        return dict(zip(here, ciphertexts, strict=True))


def _holds(snapshot: SegmentSnapshot, wanted: ImportedSlot, key_version: str) -> bool:
    content = snapshot.imported
    is_there = (content.slots == wanted.slot) & (content.enrollments == wanted.enrollment)
    return snapshot.terms.key_version == key_version and bool(is_there.any())
