"""Scans of galleries, or of some of their segments. Probes that wait for the same segments go over them together.

A scan reads every packed template once, whoever is asked about, so a scan for several probes costs little more memory
traffic, and no more of the disk, than a scan for one. There is no timer: while a scan runs, what arrives waits for the
next one. Nobody waits longer than for the scans that were before, because those that wait longest go first.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

from veilface.crypto.contract import PreparedProbe, TemplateComparer
from veilface.matching.domain.search.scoring import ScoringPass
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.search.windows import SegmentWindows, Window
from veilface.matching.domain.store.snapshots import SegmentSnapshot

LARGEST_SCAN: Final = 16

ScanKey: TypeAlias = tuple[int, tuple[tuple[int, int], ...], int, bool]


@dataclass(frozen=True, eq=False)
class ScanTerms:
    """What a search wants scanned.

    Attributes:
        segments: At least one, all of one gallery.
        segment_bytes: About how much memory each segment takes.
        shares_passes: Whether several probes of this kind cost less in one pass than one after the other.
    """

    segments: Sequence[SegmentSnapshot]
    segment_bytes: int
    comparer: TemplateComparer
    shares_passes: bool

    @cached_property
    def key(self) -> ScanKey:
        """Equal for searches that can go together: those of the same segments with the same content."""
        revisions = tuple((segment.place.number, segment.generation) for segment in self.segments)
        return self.segments[0].place.gallery_uid, revisions, id(self.comparer), self.shares_passes


@dataclass(eq=False)
class _Rider:
    """A probe of a search, until everything is scored, and the answers that its caller has not taken yet.

    The scan never waits for a caller, or a slow one would hold up the others.
    """

    terms: ScanTerms
    probe: PreparedProbe | None
    statistics: SearchStatistics
    on_scored: Callable[[], None]
    answers: asyncio.Queue[list[bytes] | Exception | None] = field(default_factory=asyncio.Queue)

    @property
    def is_gone(self) -> bool:
        return self.probe is None

    def answer(self, ciphertexts: list[bytes], window: Window, seconds: float) -> None:
        self.statistics.score_time_s += seconds
        self.statistics.gallery_bytes += window.gallery_bytes
        self.statistics.origins.update(window.origins)
        self.answers.put_nowait(ciphertexts)

    def end(self, error: Exception | None) -> None:
        if self.is_gone:
            return
        self.probe = None
        if error is None:
            self.on_scored()
        self.answers.put_nowait(error)


class GalleryScans:
    """Runs scans. For use on one event loop.

    Args:
        windows: Bring the segments.
        scoring: Makes the passes.
        largest_scan: How many probes go together at most.
    """

    def __init__(self, windows: SegmentWindows, scoring: ScoringPass, *, largest_scan: int = LARGEST_SCAN) -> None:
        self._windows = windows
        self._scoring = scoring
        self._largest_scan = largest_scan
        self._waiting: dict[ScanKey, deque[_Rider]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def score(
        self,
        terms: ScanTerms,
        probe: PreparedProbe,
        statistics: SearchStatistics,
        on_scored: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[list[bytes]]:
        """The score ciphertexts of the next segments, until all are scored.

        Args:
            terms: What is scanned.
            probe: Ready for a search.
            statistics: Counted up with every pass.
            on_scored: Called when nothing but the answers is left; the caller may not have taken them yet.

        Raises:
            UnavailableError, DataLossError, ResourceExhaustedError: As for `SegmentWindows.walk`.
        """
        rider = _Rider(terms, probe, statistics, on_scored)
        del probe
        if terms.key in self._waiting:
            self._waiting[terms.key].append(rider)
        else:
            self._waiting[terms.key] = deque([rider])
            task = asyncio.create_task(self._run(terms))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            while (answer := await rider.answers.get()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        finally:
            rider.probe = None

    async def _run(self, terms: ScanTerms) -> None:
        waiting = self._waiting[terms.key]
        try:
            while waiting:
                riders = self._next(waiting)
                if riders:
                    await self._scan(riders)
        finally:
            del self._waiting[terms.key]

    def _next(self, waiting: deque[_Rider]) -> list[_Rider]:
        """Those that wait longest; only one if they would not share anything."""
        terms = waiting[0].terms
        largest = self._largest_scan
        if not terms.shares_passes and self._windows.are_kept(terms.segments):
            largest = 1
        chosen: list[_Rider] = []
        while waiting and len(chosen) < largest:
            rider = waiting.popleft()
            if not rider.is_gone:
                chosen.append(rider)
        return chosen

    async def _scan(self, riders: list[_Rider]) -> None:
        terms = riders[0].terms
        ended: Exception | None = None
        try:
            async with aclosing(self._windows.walk(terms.segments, terms.segment_bytes)) as windows:
                async for window in windows:
                    riders = [rider for rider in riders if not rider.is_gone]
                    if not riders:
                        return
                    together = [riders] if terms.shares_passes else [[rider] for rider in riders]
                    for some in together:
                        await self._pass(terms, window, some)
        except Exception as error:  # noqa: BLE001 - it goes to everybody who waits for this scan
            ended = error
        for rider in riders:
            rider.end(ended)

    async def _pass(self, terms: ScanTerms, window: Window, riders: list[_Rider]) -> None:
        probes = [(rider, rider.probe) for rider in riders if rider.probe is not None]
        if not probes:
            return
        answers, seconds = await self._scoring.score(
            terms.comparer,
            [probe for _, probe in probes],
            [packed.segment for packed in window.packed],
            [snapshot.content.slots for snapshot in window.snapshots],
        )
        for (rider, _), ciphertexts in zip(probes, answers, strict=True):
            rider.answer(ciphertexts, window, seconds)
