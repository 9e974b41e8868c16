"""Brings segments together for passes, within a budget for those that memory does not keep."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final

from veilface.matching.domain.search.room import Room, Share
from veilface.matching.domain.segments.cache import Origin
from veilface.matching.domain.segments.library import SegmentLibrary
from veilface.matching.domain.segments.packed import PackedSegment
from veilface.matching.domain.store.snapshots import SegmentSnapshot

SEGMENTS_PER_WINDOW: Final = 64
"""Bounds what a pass makes, and how long others wait for it."""

_LOADED_AT_ONCE: Final = 4


class Window:
    """Consecutive segments that are ready to be scored. Made by `SegmentWindows`."""

    def __init__(self, share: Share) -> None:
        self.snapshots: list[SegmentSnapshot] = []
        self.packed: list[PackedSegment] = []
        self.origins: Counter[Origin] = Counter()
        self._share = share
        self._loading_bytes = 0

    def __len__(self) -> int:
        return len(self.snapshots)

    @property
    def gallery_bytes(self) -> int:
        """How much a pass reads."""
        return sum(packed.memory_bytes for packed in self.packed)


class SegmentWindows:
    """Walks over segments, and loads the next ones while the last ones are scored. For use on one event loop.

    Args:
        library: Has the segments.
        room: For segments that are searched, but not kept in memory: half of it for a window, half for the next.
    """

    def __init__(self, library: SegmentLibrary, room: Room) -> None:
        self._library = library
        self._room = room
        self._open: set[Window] = set()

    def are_kept(self, segments: Sequence[SegmentSnapshot]) -> bool:
        """Whether all of them are in memory."""
        return all(self._library.memory.peek(snapshot.place) is not None for snapshot in segments)

    async def walk(self, segments: Sequence[SegmentSnapshot], segment_bytes: int) -> AsyncGenerator[Window]:
        """All segments in order; a window must not be used any more when the next one is asked for.

        Args:
            segments: Which ones.
            segment_bytes: About how much memory each takes.

        Raises:
            UnavailableError: GALLERY_CHANGED if something listed was erased meanwhile.
            DataLossError: If a stored template or an imported segment is damaged.
            ResourceExhaustedError: If the pools stay full.
        """
        await self._library.verify(segments)
        done = 0
        filling: asyncio.Task[Window] | None = asyncio.create_task(self._fill(segments, segment_bytes))
        try:
            while filling is not None:
                window = await filling
                done += len(window)
                filling = None
                try:
                    if done < len(segments):
                        filling = asyncio.create_task(self._fill(segments[done:], segment_bytes))
                    yield window
                finally:
                    self._close(window)
        finally:
            if filling is not None:
                filling.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    self._close(await filling)

    async def _fill(self, segments: Sequence[SegmentSnapshot], segment_bytes: int) -> Window:
        window = Window(self._room.nothing())
        self._open.add(window)
        try:
            todo = deque(segments[:SEGMENTS_PER_WINDOW])
            while todo:
                loading = await self._admit(todo, window, segment_bytes)
                if not loading:
                    break
                found = await asyncio.gather(*(self._library.obtain(snapshot) for snapshot in loading))
                for snapshot, (packed, origin) in zip(loading, found, strict=True):
                    window.snapshots.append(snapshot)
                    window.packed.append(packed)
                    window.origins[origin] += 1
                window._loading_bytes = 0
                self._account()
        except BaseException:
            self._close(window)
            raise
        # A mapped segment is not touched before it is scored, but read ahead by the kernel.
        for snapshot, packed in zip(window.snapshots, window.packed, strict=True):
            if self._is_loose(snapshot, packed):
                packed.will_need()
        return window

    async def _admit(self, todo: deque[SegmentSnapshot], window: Window, segment_bytes: int) -> list[SegmentSnapshot]:
        """Some of the next segments, those for which there is room; nobody waits who holds something already."""
        admitted: list[SegmentSnapshot] = []
        share = window._share
        while todo and len(admitted) < _LOADED_AT_ONCE:
            if self._library.memory.peek(todo[0].place) is None:
                if not len(window) and not admitted:
                    await self._room.enter(share, segment_bytes)
                elif share.held_bytes + segment_bytes > self._room.total_bytes // 2 or not share.grow(segment_bytes):
                    break
                window._loading_bytes += segment_bytes
            admitted.append(todo.popleft())
        return admitted

    def _account(self) -> None:
        """What memory keeps is in its budget, and what it let go meanwhile is not any more."""
        for window in self._open:
            loose_bytes = sum(
                packed.memory_bytes
                for snapshot, packed in zip(window.snapshots, window.packed, strict=True)
                if self._is_loose(snapshot, packed)
            )
            window._share.resize(loose_bytes + window._loading_bytes)

    def _close(self, window: Window) -> None:
        if window not in self._open:
            return
        self._open.discard(window)
        for snapshot, packed in zip(window.snapshots, window.packed, strict=True):
            if self._is_loose(snapshot, packed):
                packed.release()
        window.snapshots.clear()
        window.packed.clear()
        window._share.resize(0)

    def _is_loose(self, snapshot: SegmentSnapshot, packed: PackedSegment) -> bool:
        return self._library.memory.peek(snapshot.place) is not packed
