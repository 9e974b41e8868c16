from dataclasses import dataclass

from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.memory import SegmentMemory


@dataclass(eq=False)
class Sized:
    memory_bytes: int


def place(number):
    return SegmentPlace(1, number)


def test_the_least_recently_used_segment_goes_first():
    memory = SegmentMemory(100)
    for number in range(3):
        memory.put(place(number), Sized(30))
    memory.get(place(0))
    memory.put(place(3), Sized(30))
    assert set(memory.places) == {place(0), place(2), place(3)}
    assert memory.used_bytes == 90


def test_a_peek_is_not_a_use():
    memory = SegmentMemory(60)
    memory.put(place(0), Sized(30))
    memory.put(place(1), Sized(30))
    assert memory.peek(place(0)) is not None
    memory.put(place(2), Sized(30))
    assert memory.peek(place(0)) is None


def test_a_segment_larger_than_the_budget_is_not_kept_and_its_older_version_goes():
    memory = SegmentMemory(50)
    memory.put(place(0), Sized(30))
    memory.put(place(0), Sized(60))
    assert memory.get(place(0)) is None
    assert memory.used_bytes == 0


def test_a_replaced_segment_is_counted_once():
    memory = SegmentMemory(50)
    memory.put(place(0), Sized(30))
    newer = Sized(40)
    memory.put(place(0), newer)
    assert memory.get(place(0)) is newer
    assert memory.used_bytes == 40
