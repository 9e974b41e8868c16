"""1:1 against imported enrollments: they have no template of their own, so their slot of the segment is searched."""

from collections.abc import Sequence

import numpy as np

from veilface.common.errors import Reason, UnavailableError
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateComparer
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import ImportedSlot
from veilface.matching.domain.search.scoring import ScoringPass
from veilface.matching.domain.segments.library import SegmentLibrary
from veilface.matching.domain.store.snapshots import SegmentSnapshot, SnapshotRecords
from veilface.matching.domain.templates import VouchedTemplate


class ImportedComparisons:
    """Scores single slots.

    Args:
        snapshots: What is in the segments.
        library: Has the segments.
        scoring: Makes the passes.
        compute: Where probes are made ready.
        storage: Where blocking reads run.
    """

    def __init__(
        self,
        snapshots: SnapshotRecords,
        library: SegmentLibrary,
        scoring: ScoringPass,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._snapshots = snapshots
        self._library = library
        self._scoring = scoring
        self._compute = compute
        self._storage = storage

    async def score(
        self, comparer: TemplateComparer, probe: VouchedTemplate, wanted: Sequence[ImportedSlot]
    ) -> list[bytes]:
        """One score ciphertext of one score for each slot.

        Raises:
            UnavailableError: GALLERY_CHANGED if one was erased or moved meanwhile.
            DataLossError: If the imported segment is damaged.
        """
        if not wanted:
            return []
        statement = probe.statement
        prepared = await self._compute.run(comparer.prepare_probe, probe.ciphertext, statement.space, statement.use)
        ciphertexts = []
        for each in wanted:
            snapshot = await run_patiently(self._storage, self._snapshots.segment, each.place)
            if snapshot is None or not _holds(snapshot, each, statement.key_version):
                raise UnavailableError(Reason.GALLERY_CHANGED, "the gallery was changed while it was read; try again")
            packed, _ = await self._library.obtain(snapshot)
            slots = [np.array([each.slot], dtype=np.intp)]
            found, _ = await self._scoring.score(comparer, prepared, [packed.segment], slots)
            ciphertexts += found
            if self._library.memory.peek(each.place) is not packed:
                packed.release()
        return ciphertexts


def _holds(snapshot: SegmentSnapshot, wanted: ImportedSlot, key_version: str) -> bool:
    content = snapshot.imported
    is_there = (content.slots == wanted.slot) & (content.enrollments == wanted.enrollment)
    return snapshot.terms.key_version == key_version and bool(is_there.any())
