import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilface.common.errors import DataLossError
from veilface.matching.domain.segments.content import SegmentContent


def content_of(entries):
    """entries: slot -> (enrollment, first byte of the digest)."""
    slots = sorted(entries)
    digests = np.zeros((len(slots), 32), dtype=np.uint8)
    digests[:, 0] = [entries[slot][1] for slot in slots]
    return SegmentContent(
        np.array(slots, dtype=np.intp), np.array([entries[slot][0] for slot in slots], dtype=np.uint64), digests
    )


def entries_of(content):
    return {
        int(slot): (int(number), int(digest[0]))
        for slot, number, digest in zip(content.slots, content.enrollments, content.template_sha256, strict=True)
    }


contents = st.dictionaries(st.integers(0, 40), st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 255)), max_size=20)


@given(contents)
def test_content_survives_serialization(entries):
    assert entries_of(SegmentContent.from_bytes(content_of(entries).to_bytes())) == entries


@given(contents, contents)
def test_without_keeps_exactly_the_entries_that_the_other_does_not_hold_alike(ours, theirs):
    expected = {slot: entry for slot, entry in ours.items() if theirs.get(slot) != entry}
    assert entries_of(content_of(ours).without(content_of(theirs))) == expected


@given(contents)
def test_nothing_of_a_content_is_missing_in_itself(entries):
    content = content_of(entries)
    assert len(content.without(content)) == 0


@given(contents, st.integers(0, 40))
def test_joining_two_parts_gives_the_whole(entries, border):
    low = {slot: entry for slot, entry in entries.items() if slot < border}
    high = {slot: entry for slot, entry in entries.items() if slot >= border}
    assert entries_of(content_of(high).joined(content_of(low))) == entries


@given(contents, contents)
def test_digests_are_equal_exactly_when_contents_are(ours, theirs):
    assert (content_of(ours).digest == content_of(theirs).digest) == (ours == theirs)


def test_a_cut_off_listing_is_refused():
    serialized = content_of({0: (1, 1), 3: (2, 2)}).to_bytes()
    assert len(SegmentContent.from_bytes(serialized)) == 2
    with pytest.raises(DataLossError):
        SegmentContent.from_bytes(serialized[:-1])


def test_a_listing_out_of_order_is_refused():
    first, second = content_of({0: (1, 1)}).to_bytes(), content_of({3: (2, 2)}).to_bytes()
    assert len(SegmentContent.from_bytes(first + second)) == 2
    with pytest.raises(DataLossError):
        SegmentContent.from_bytes(second + first)
    with pytest.raises(DataLossError):
        SegmentContent.from_bytes(first + first)
