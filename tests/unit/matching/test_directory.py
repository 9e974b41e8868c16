import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from veilface.matching.domain.segments.content import SegmentContent
from veilface.matching.domain.segments.directory import Directory


def directory(numbers, subject_ids=None):
    count = len(numbers)
    content = SegmentContent(
        np.arange(count, dtype=np.intp), np.array(numbers, dtype=np.uint64), np.zeros((count, 32), dtype=np.uint8)
    )
    return Directory.of(content, tuple(subject_ids or (f"s{number}" for number in numbers)))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_runs_spell_out_the_enrollment_numbers_in_order(numbers):
    spelled = [run.first_enrollment + offset for run in directory(numbers).runs for offset in range(run.count)]
    assert spelled == numbers


def test_consecutive_numbers_are_one_run():
    assert [(run.first_enrollment, run.count) for run in directory([5, 6, 7, 9, 10]).runs] == [(5, 3), (9, 2)]


def test_the_number_zero_can_start_a_run():
    assert [(run.first_enrollment, run.count) for run in directory([0, 1]).runs] == [(0, 2)]


def test_an_etag_changes_with_the_numbers_and_with_the_subjects():
    etag = directory([1, 2], ["anna", "ben"]).etag
    assert directory([1, 2], ["anna", "ben"]).etag == etag
    assert directory([1, 3], ["anna", "ben"]).etag != etag
    assert directory([1, 2], ["anna", "eva"]).etag != etag
    assert directory([1, 2], ["ann", "aben"]).etag != etag
