"""Packed segments in this process, the least recently used going first."""

from cachetools import Cache, LRUCache

from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.packed import PackedSegment


class _PeekableCache(LRUCache[SegmentPlace, PackedSegment]):
    def peek(self, place: SegmentPlace) -> PackedSegment | None:
        return Cache.__getitem__(self, place) if place in self else None


class SegmentMemory:
    """Keeps packed segments within a budget. For use from one thread only: that of the event loop.

    Args:
        budget_bytes: How much the segments kept may take together. One that is larger than this is not kept.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._segments = _PeekableCache(maxsize=budget_bytes, getsizeof=lambda packed: packed.memory_bytes)

    @property
    def used_bytes(self) -> int:
        """How much the segments kept take."""
        return int(self._segments.currsize)

    @property
    def places(self) -> list[SegmentPlace]:
        """Which segments are kept."""
        return list(self._segments)

    def get(self, place: SegmentPlace) -> PackedSegment | None:
        """The segment, now the most recently used one."""
        return self._segments.get(place)

    def peek(self, place: SegmentPlace) -> PackedSegment | None:
        """The segment, without counting as a use."""
        return self._segments.peek(place)

    def put(self, place: SegmentPlace, packed: PackedSegment) -> None:
        """Keep a segment in the place of an older one."""
        self._segments.pop(place, None)
        if packed.memory_bytes <= self._segments.maxsize:
            self._segments[place] = packed

    def drop(self, place: SegmentPlace) -> None:
        """Forget a segment."""
        self._segments.pop(place, None)
