"""How the segments of a snapshot are scored: packed, or row by row for schemes without segments."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from typing import Final, Protocol

from veilface.common.errors import Reason, UnavailableError
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import PreparedProbe, TemplateComparer, TemplateSpace
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import TemplateRow
from veilface.matching.domain.search.scoring import ScoringPass
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.segments.cache import Origin
from veilface.matching.domain.segments.library import SegmentLibrary
from veilface.matching.domain.segments.packed import PackedSegment
from veilface.matching.domain.store.snapshots import SegmentSnapshot
from veilface.matching.domain.store.templates import TemplateRecords

_ROWS_PER_WINDOW: Final = 64


class Scorer(Protocol):
    """Scores one probe against segments, in their order, some at a time."""

    def score(self, segments: Sequence[SegmentSnapshot], statistics: SearchStatistics) -> AsyncGenerator[list[bytes]]:
        """The score ciphertexts of the occupied slots of the next segments, until all are scored.

        Raises:
            UnavailableError: GALLERY_CHANGED if something listed was erased meanwhile.
        """
        ...


class PackedScorer:
    """Scores packed segments, as many in one pass as the memory for segments that are not kept allows.

    Args:
        library: Has the segments.
        scoring: Makes the passes.
        comparer: Of the key version.
        probe: Expanded.
        window_bytes: How much the segments of one pass may take beyond those that are kept in memory anyway.
        windows: Held while there are such segments, so that searches do not take as much each.
    """

    def __init__(
        self,
        library: SegmentLibrary,
        scoring: ScoringPass,
        comparer: TemplateComparer,
        probe: PreparedProbe,
        window_bytes: int,
        windows: asyncio.Lock,
    ) -> None:
        self._library = library
        self._scoring = scoring
        self._comparer = comparer
        self._probe = probe
        self._window_bytes = window_bytes
        self._windows = windows

    async def score(
        self, segments: Sequence[SegmentSnapshot], statistics: SearchStatistics
    ) -> AsyncGenerator[list[bytes]]:
        """See `Scorer.score`."""
        await self._library.verify(segments)
        done = 0
        while done < len(segments):
            # No window is open while the caller is slow to take what is yielded.
            async with AsyncExitStack() as opened:
                window = await self._fill(segments[done:], opened, statistics)
                done += len(window)
                self._prefetch(segments[done:])
                try:
                    ciphertexts = await self._pass(window, statistics)
                finally:
                    for snapshot, packed in window:
                        if self._is_loose(snapshot, packed):
                            packed.release()
                # Nothing of it may stay alive while the caller takes its time.
                del window, snapshot, packed
            yield ciphertexts

    async def _fill(
        self, segments: Sequence[SegmentSnapshot], opened: AsyncExitStack, statistics: SearchStatistics
    ) -> list[tuple[SegmentSnapshot, PackedSegment]]:
        window: list[tuple[SegmentSnapshot, PackedSegment]] = []
        memory = self._library.memory
        loose_bytes = counted = drops = 0
        has_opened = False
        for snapshot in segments:
            packed, origin = await self._library.obtain(snapshot)
            statistics.origins[origin] += 1
            window.append((snapshot, packed))
            if memory.drops != drops:
                loose_bytes, counted, drops = 0, 0, memory.drops
            loose_bytes += sum(
                packed.memory_bytes for snapshot, packed in window[counted:] if self._is_loose(snapshot, packed)
            )
            counted = len(window)
            if loose_bytes and not has_opened:
                await opened.enter_async_context(self._windows)
                has_opened = True
            if loose_bytes >= self._window_bytes:
                break
        return window

    def _prefetch(self, segments: Sequence[SegmentSnapshot]) -> None:
        wanted_bytes = self._window_bytes
        for snapshot in segments:
            if wanted_bytes <= 0:
                return
            wanted_bytes -= self._library.prefetch(snapshot)

    def _is_loose(self, snapshot: SegmentSnapshot, packed: PackedSegment) -> bool:
        return self._library.memory.peek(snapshot.place) is not packed

    async def _pass(
        self, window: list[tuple[SegmentSnapshot, PackedSegment]], statistics: SearchStatistics
    ) -> list[bytes]:
        ciphertexts, seconds = await self._scoring.score(
            self._comparer,
            self._probe,
            [packed.segment for _, packed in window],
            [snapshot.content.slots for snapshot, _ in window],
        )
        statistics.score_time_s += seconds
        statistics.gallery_bytes += sum(packed.memory_bytes for _, packed in window)
        return ciphertexts


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
        self, segments: Sequence[SegmentSnapshot], statistics: SearchStatistics
    ) -> AsyncGenerator[list[bytes]]:
        """See `Scorer.score`."""
        for start in range(0, len(segments), _ROWS_PER_WINDOW):
            window = segments[start : start + _ROWS_PER_WINDOW]
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

    def _compare(self, rows: Sequence[TemplateRow]) -> list[bytes]:
        return [self._comparer.compare(row.ciphertext, self._probe, self._space) for row in rows]


def _only_template(snapshot: SegmentSnapshot) -> bytes:
    return bytes(snapshot.content.template_sha256[0])
