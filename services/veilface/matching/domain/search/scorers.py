"""How the segments of a snapshot are scored: packed, or row by row for schemes without segments."""

import time
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from veilface.common.errors import Reason, UnavailableError
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import PreparedProbe, TemplateComparer, TemplateSpace
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import TemplateRow
from veilface.matching.domain.search.cost import ROWS_PER_WINDOW, SearchCost
from veilface.matching.domain.search.room import Share
from veilface.matching.domain.search.scans import GalleryScans, ScanTerms
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.segments.cache import Origin
from veilface.matching.domain.store.snapshots import SegmentSnapshot
from veilface.matching.domain.store.templates import TemplateRecords


class Scorer(Protocol):
    """Scores one probe against segments of a gallery, in their order, some at a time."""

    def score(
        self, segments: Sequence[SegmentSnapshot], statistics: SearchStatistics, *, is_last: bool = True
    ) -> AsyncGenerator[list[bytes]]:
        """The score ciphertexts of the occupied slots of the next segments, until all are scored.

        Args:
            segments: At least one.
            statistics: Counted up.
            is_last: Whether the probe is let go of, as by `release`, as soon as these are scored.

        Raises:
            UnavailableError: GALLERY_CHANGED if something listed was erased meanwhile.
        """
        ...

    def release(self) -> None:
        """Nothing more will be asked for: only the answers are left."""
        ...


class PackedScorer:
    """Scores packed segments, together with the other searches of the gallery.

    Args:
        scans: Make the passes.
        comparer: Of the key version.
        probe: Ready for a search. It is let go as soon as everything is scored.
        share: The memory of the search.
        cost: What of it is needed when.
    """

    def __init__(
        self, scans: GalleryScans, comparer: TemplateComparer, probe: PreparedProbe, share: Share, cost: SearchCost
    ) -> None:
        self._scans = scans
        self._comparer = comparer
        self._probe: PreparedProbe | None = probe
        self._share = share
        self._cost = cost

    def score(
        self, segments: Sequence[SegmentSnapshot], statistics: SearchStatistics, *, is_last: bool = True
    ) -> AsyncGenerator[list[bytes]]:
        """See `Scorer.score`."""
        if self._probe is None:
            raise ValueError("everything is scored already")
        terms = ScanTerms(segments, self._cost.segment_bytes, self._comparer, self._cost.shares_passes)
        if is_last:
            return self._scans.score(terms, self._probe, statistics, self.release)
        return self._scans.score(terms, self._probe, statistics)

    def release(self) -> None:
        """See `Scorer.release`."""
        # The caller may take its time with the answers; the probe need not wait for that.
        self._probe = None
        self._share.shrink(self._cost.answer_bytes)


class RowScorer:
    """Compares with one stored template after the other; each is a segment of its own.

    Args:
        templates: The stored templates.
        comparer: Of the key version.
        probe: The probe's ciphertext.
        space: Of the gallery.
        compute: Where comparisons run.
        storage: Where blocking reads run.
    """

    def __init__(
        self,
        templates: TemplateRecords,
        comparer: TemplateComparer,
        probe: bytes,
        space: TemplateSpace,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._templates = templates
        self._comparer = comparer
        self._probe = probe
        self._space = space
        self._compute = compute
        self._storage = storage

    async def score(
        self, segments: Sequence[SegmentSnapshot], statistics: SearchStatistics, *, is_last: bool = True
    ) -> AsyncGenerator[list[bytes]]:
        """See `Scorer.score`."""
        for start in range(0, len(segments), ROWS_PER_WINDOW):
            window = segments[start : start + ROWS_PER_WINDOW]
            numbers = [int(snapshot.content.enrollments[0]) for snapshot in window]
            rows = await run_patiently(self._storage, self._templates.read, window[0].place.gallery_uid, numbers)
            if [row.template_sha256 for row in rows] != [_only_template(snapshot) for snapshot in window]:
                raise UnavailableError(Reason.GALLERY_CHANGED, "the gallery was changed while it was read; try again")
            begin = time.perf_counter()
            ciphertexts = await self._compute.run(self._compare, rows)
            statistics.score_time_s += time.perf_counter() - begin
            statistics.gallery_bytes += sum(len(row.ciphertext) for row in rows)
            statistics.origins[Origin.ROWS] += len(rows)
            yield ciphertexts

    def release(self) -> None:
        """See `Scorer.release`: nothing is held."""

    def _compare(self, rows: Sequence[TemplateRow]) -> list[bytes]:
        return [self._comparer.compare(row.ciphertext, self._probe, self._space) for row in rows]


def _only_template(snapshot: SegmentSnapshot) -> bytes:
    return bytes(snapshot.content.template_sha256[0])
