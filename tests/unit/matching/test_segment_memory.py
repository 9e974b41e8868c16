from dataclasses import dataclass

from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.memory import SegmentMemory


@dataclass(eq=False)
class Sized:
    memory_bytes: int
    releases: int = 0

    def release(self):
        self.releases += 1


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


def test_what_goes_gives_its_memory_back():
    memory = SegmentMemory(60)
    evicted, dropped = Sized(30), Sized(30)
    memory.put(place(0), evicted)
    memory.put(place(1), dropped)
    memory.put(place(2), Sized(30))
    assert (evicted.releases, dropped.releases) == (1, 0)
    memory.drop(place(1))
    assert dropped.releases == 1


def test_a_segment_is_admitted_where_there_is_room():
    memory = SegmentMemory(60)
    assert memory.admit(place(0), Sized(30))
    assert memory.admit(place(1), Sized(30))
    assert memory.used_bytes == 60


def test_no_segment_of_the_same_gallery_goes_for_an_admitted_one():
    memory = SegmentMemory(60)
    memory.put(place(0), Sized(30))
    memory.put(place(1), Sized(30))
    assert not memory.admit(place(2), Sized(30))
    assert set(memory.places) == {place(0), place(1)}


def test_segments_of_another_gallery_go_for_an_admitted_one():
    memory = SegmentMemory(60)
    memory.put(SegmentPlace(2, 0), Sized(30))
    memory.put(SegmentPlace(2, 1), Sized(30))
    assert memory.admit(place(0), Sized(60))
    assert memory.places == [place(0)]


def test_nothing_goes_for_a_segment_that_is_not_admitted():
    memory = SegmentMemory(60)
    memory.put(SegmentPlace(2, 0), Sized(20))
    memory.put(place(0), Sized(40))
    assert not memory.admit(place(1), Sized(40))
    assert set(memory.places) == {SegmentPlace(2, 0), place(0)}


def test_a_segment_larger_than_the_budget_is_not_admitted():
    memory = SegmentMemory(60)
    memory.put(place(0), Sized(10))
    assert not memory.admit(place(1), Sized(70))
    assert memory.places == [place(0)]


def test_it_is_told_whether_there_was_room():
    memory = SegmentMemory(60)
    assert memory.put(place(0), Sized(40))
    assert memory.put(place(0), Sized(50))
    assert not memory.put(place(1), Sized(40))
    assert not memory.put(place(2), Sized(70))
