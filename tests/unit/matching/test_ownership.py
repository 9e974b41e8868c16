from collections import Counter

from veilface.matching.domain.fanout.ownership import owner_of
from veilface.matching.domain.records import SegmentPlace

MEMBERS = ("10.0.0.1:7003", "10.0.0.2:7003", "10.0.0.3:7003")
PLACES = [SegmentPlace(gallery, number) for gallery in (1, 2, 77) for number in range(1000)]


def test_every_member_owns_about_as_much():
    counts = Counter(owner_of(place, MEMBERS) for place in PLACES)
    assert counts.keys() == set(MEMBERS)
    # Five standard deviations of a binomial distribution.
    for count in counts.values():
        assert abs(count - len(PLACES) / 3) < 5 * (len(PLACES) * 2 / 9) ** 0.5


def test_segments_of_one_gallery_are_spread():
    owners = [owner_of(SegmentPlace(5, number), MEMBERS) for number in range(12)]
    assert set(owners) == set(MEMBERS)


def test_the_order_of_members_does_not_matter():
    assert [owner_of(place, MEMBERS) for place in PLACES] == [owner_of(place, MEMBERS[::-1]) for place in PLACES]


def test_only_the_segments_of_a_member_that_goes_move():
    before = {place: owner_of(place, MEMBERS) for place in PLACES}
    after = {place: owner_of(place, MEMBERS[:2]) for place in PLACES}
    moved = {place for place in PLACES if before[place] != after[place]}
    assert moved == {place for place in PLACES if before[place] == MEMBERS[2]}
    counts = Counter(after[place] for place in moved)
    assert abs(counts[MEMBERS[0]] - len(moved) / 2) < 5 * (len(moved) / 4) ** 0.5


def test_a_new_member_takes_its_share_and_the_others_exchange_nothing():
    joined = (*MEMBERS, "10.0.0.4:7003")
    moved = [place for place in PLACES if owner_of(place, MEMBERS) != owner_of(place, joined)]
    assert {owner_of(place, joined) for place in moved} == {"10.0.0.4:7003"}
    assert abs(len(moved) - len(PLACES) / 4) < 5 * (len(PLACES) * 3 / 16) ** 0.5
