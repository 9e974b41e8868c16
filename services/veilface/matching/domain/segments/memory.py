"""Packed segments in this process, the least recently used going first."""

from collections import OrderedDict

from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.packed import PackedSegment


class SegmentMemory:
    """Keeps packed segments within a budget. For use from one thread only: that of the event loop.

    Args:
        budget_bytes: How much the segments kept may take together. One that is larger than this is not kept.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._used_bytes = 0
        self._segments: OrderedDict[SegmentPlace, PackedSegment] = OrderedDict()

    @property
    def used_bytes(self) -> int:
        """How much the segments kept take."""
        return self._used_bytes

    @property
    def places(self) -> list[SegmentPlace]:
        """Which segments are kept, the least recently used first."""
        return list(self._segments)

    def get(self, place: SegmentPlace) -> PackedSegment | None:
        """The segment, now the most recently used one."""
        packed = self._segments.get(place)
        if packed is not None:
            self._segments.move_to_end(place)
        return packed

    def peek(self, place: SegmentPlace) -> PackedSegment | None:
        """The segment, without counting as a use."""
        return self._segments.get(place)

    def put(self, place: SegmentPlace, packed: PackedSegment) -> bool:
        """Keep a segment in the place of an older one, and of those that were not used for longest.

        Returns:
            Whether there was room for it. If not, others went or it is not kept, and it may be the next to go.
        """
        self.drop(place)
        if packed.memory_bytes > self._budget_bytes:
            return False
        kept_before = len(self._segments)
        while self._used_bytes + packed.memory_bytes > self._budget_bytes:
            self.drop(next(iter(self._segments)))
        has_room = len(self._segments) == kept_before
        self._add(place, packed)
        return has_room

    def admit(self, place: SegmentPlace, packed: PackedSegment) -> bool:
        """Keep a segment that can be had again at little cost, unless others of its gallery would have to go.

        A search needs every segment of a gallery, so to exchange one of them for another only makes work.
        """
        self.drop(place)
        lacking_bytes = self._used_bytes + packed.memory_bytes - self._budget_bytes
        going = []
        for other, kept in self._segments.items():
            if lacking_bytes <= 0:
                break
            if other.gallery_uid == place.gallery_uid:
                return False
            going.append(other)
            lacking_bytes -= kept.memory_bytes
        if lacking_bytes > 0:
            return False
        for other in going:
            self.drop(other)
        self._add(place, packed)
        return True

    def drop(self, place: SegmentPlace) -> None:
        """Forget a segment."""
        packed = self._segments.pop(place, None)
        if packed is not None:
            self._used_bytes -= packed.memory_bytes
            packed.release()

    def _add(self, place: SegmentPlace, packed: PackedSegment) -> None:
        self._segments[place] = packed
        self._used_bytes += packed.memory_bytes
