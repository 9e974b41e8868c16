import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilface.client.directories import LARGEST_ETAG_COUNT, Directory, DirectoryCache, directory_from_proto
from veilface.common.errors import DataLossError
from veilface.matching.v1 import matching_service_pb2

Runs = list[tuple[int, int]]

runs_of_enrollments = st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 50)), max_size=20)


def directory(runs: Runs, subjects: list[str]) -> Directory:
    message = matching_service_pb2.SegmentDirectory(
        runs=[matching_service_pb2.EnrollmentRun(first_enrollment=first, count=count) for first, count in runs],
        subject_ids=subjects,
    )
    return directory_from_proto(message)


@given(runs_of_enrollments)
def test_every_position_maps_to_its_enrollment_and_subject(runs: Runs) -> None:
    enrollments = [first + step for first, count in runs for step in range(count)]
    made = directory(runs, [f"subject-{number}" for number in range(len(enrollments))])
    assert [made.at(position) for position in range(len(enrollments))] == [
        (enrollment, f"subject-{position}") for position, enrollment in enumerate(enrollments)
    ]


@given(runs_of_enrollments, st.integers(-3, 3))
def test_positions_outside_are_refused(runs: Runs, distance: int) -> None:
    count = sum(each for _, each in runs)
    made = directory(runs, ["ada"] * count)
    position = count + distance if distance >= 0 else distance
    with pytest.raises(DataLossError):
        made.at(position)


@pytest.mark.parametrize("subjects", [[], ["ada"], ["ada", "bob", "eve"]])
def test_a_directory_with_another_number_of_subjects_is_refused(subjects: list[str]) -> None:
    assert directory([(7, 2)], ["ada", "bob"]).at(1) == (8, "bob")
    with pytest.raises(DataLossError):
        directory([(7, 2)], subjects)


def test_directories_that_a_search_no_longer_names_are_dropped() -> None:
    cache = DirectoryCache()
    first, second = directory([(1, 1)], ["ada"]), directory([(2, 1)], ["bob"])
    cache.replace("galleries/a", {"x": first, "y": second})
    cache.replace("galleries/b", {"x": second})
    cache.replace("galleries/a", {"y": second})
    assert cache.of_gallery("galleries/a") == {"y": second}
    assert cache.of_gallery("galleries/b") == {"x": second}


def test_no_more_directories_are_kept_than_a_search_may_name() -> None:
    cache = DirectoryCache()
    one = directory([(1, 1)], ["ada"])
    cache.replace("galleries/a", {"oldest": one})
    cache.replace("galleries/b", {str(number): one for number in range(LARGEST_ETAG_COUNT)})
    assert cache.of_gallery("galleries/a") == {}
    assert len(cache.of_gallery("galleries/b")) == LARGEST_ETAG_COUNT
