from datetime import UTC, datetime

import pytest

from veilface.common.attested import template_to_proto
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import EnrollmentName, GalleryName, KeyName, KeyVersionName, SubjectName
from veilface.crypto.contract import Metric, Scheme
from veilface.matching import conversion
from veilface.matching.domain.records import Enrollment, Gallery, Subject
from veilface.matching.domain.search.search import SearchedSegment, SearchPart
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.segments.cache import Origin
from veilface.matching.domain.segments.directory import Directory, EnrollmentRun
from veilface.matching.v1 import gallery_service_pb2 as galleries_pb2
from veilface.matching.v1 import matching_service_pb2 as matching_pb2
from veilface.types.v1 import template_pb2

STAFF = GalleryName("staff")
NOW = datetime(2030, 5, 17, 12, tzinfo=UTC)


@pytest.fixture
def template(embedder):
    return template_to_proto(embedder.reference([1.0, 0.0, 0.0, 0.0]))


def enroll_request(signed, **changes):
    values = {
        "gallery": "galleries/staff",
        "subject_id": "anna",
        "template": signed,
        "labels": {"site": "north"},
        "request_id": "r 1",
    } | changes
    return galleries_pb2.EnrollRequest(**{name: value for name, value in values.items() if value is not None})


def test_a_gallery_request_is_read_with_its_defaults():
    wanted = conversion.new_gallery_from_proto(galleries_pb2.CreateGalleryRequest(gallery_id="staff", key="keys/faces"))
    assert (wanted.name, wanted.key, wanted.model, wanted.dimension, wanted.metric) == (
        STAFF,
        KeyName("faces"),
        "",
        0,
        Metric.COSINE,
    )


def test_a_gallery_request_is_read_in_full():
    wanted = conversion.new_gallery_from_proto(
        galleries_pb2.CreateGalleryRequest(
            gallery_id="staff",
            key="keys/faces/versions/3",
            model="dlib",
            dimension=4096,
            metric=template_pb2.METRIC_SQUARED_EUCLIDEAN,
        )
    )
    assert (wanted.key, wanted.model, wanted.dimension, wanted.metric) == (
        KeyVersionName("faces", 3),
        "dlib",
        4096,
        Metric.SQUARED_EUCLIDEAN,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gallery_id": ""}, Reason.MISSING_FIELD),
        ({"gallery_id": "Staff"}, Reason.INVALID_NAME),
        ({"key": ""}, Reason.MISSING_FIELD),
        ({"key": "faces"}, Reason.INVALID_NAME),
        ({"dimension": 4097}, Reason.WRONG_DIMENSION),
        ({"metric": 7}, Reason.INVALID_FIELD),
        ({"model": "m" * 201}, Reason.INVALID_FIELD),
        ({"model": "a\nb"}, Reason.INVALID_FIELD),
    ],
)
def test_a_wrong_gallery_request_is_refused(change, reason):
    values = {"gallery_id": "staff", "key": "keys/faces"} | change
    with pytest.raises(InvalidArgumentError) as caught:
        conversion.new_gallery_from_proto(galleries_pb2.CreateGalleryRequest(**values))
    assert caught.value.reason is reason


def test_an_enroll_request_is_read(template):
    wanted = conversion.new_enrollment_from_proto(enroll_request(template))
    assert (wanted.subject, wanted.labels, wanted.request_id) == (STAFF.subject("anna"), {"site": "north"}, "r 1")
    assert wanted.template.ciphertext == template.ciphertext


def test_the_largest_labels_and_request_id_are_taken(template):
    labels = {f"{number:02}".ljust(63, "k"): "v" * 256 for number in range(16)}
    wanted = conversion.new_enrollment_from_proto(enroll_request(template, labels=labels, request_id="~" * 64))
    assert wanted.labels == labels


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gallery": ""}, Reason.MISSING_FIELD),
        ({"gallery": "staff"}, Reason.INVALID_NAME),
        ({"subject_id": ""}, Reason.MISSING_FIELD),
        ({"subject_id": "anna smith"}, Reason.INVALID_NAME),
        ({"subject_id": "a" * 129}, Reason.INVALID_NAME),
        ({"template": None}, Reason.MISSING_FIELD),
        ({"template": template_pb2.Template()}, Reason.MISSING_FIELD),
        ({"labels": {f"k{number}": "v" for number in range(17)}}, Reason.INVALID_FIELD),
        ({"labels": {"": "v"}}, Reason.INVALID_FIELD),
        ({"labels": {"k" * 64: "v"}}, Reason.INVALID_FIELD),
        ({"labels": {"k": "v" * 257}}, Reason.INVALID_FIELD),
        ({"labels": {"k": "a\0b"}}, Reason.INVALID_FIELD),
        ({"request_id": ""}, Reason.MISSING_FIELD),
        ({"request_id": "r" * 65}, Reason.INVALID_FIELD),
        ({"request_id": "r\n1"}, Reason.INVALID_FIELD),
        ({"request_id": "ä"}, Reason.INVALID_FIELD),
    ],
)
def test_a_wrong_enroll_request_is_refused(template, change, reason):
    conversion.new_enrollment_from_proto(enroll_request(template))
    with pytest.raises(InvalidArgumentError) as caught:
        conversion.new_enrollment_from_proto(enroll_request(template, **change))
    assert caught.value.reason is reason


def test_records_become_messages():
    gallery = Gallery(
        1, STAFF, "keys/faces/versions/1", Scheme.CKKS_PACKED, "p", "m", 128, Metric.COSINE, 9, 3, 2, 99, NOW
    )
    message = conversion.gallery_to_proto(gallery)
    assert (message.name, message.generation, message.enrollment_count, message.subject_count) == (
        "galleries/staff",
        9,
        3,
        2,
    )
    assert message.create_time.ToDatetime(tzinfo=UTC) == NOW
    enrollment = Enrollment(STAFF.enrollment(4), STAFF.subject("anna"), {"a": "b"}, "keys/faces/versions/1", 33, NOW)
    message = conversion.enrollment_to_proto(enrollment)
    assert (message.name, message.subject, dict(message.labels), message.template_bytes) == (
        "galleries/staff/enrollments/4",
        "galleries/staff/subjects/anna",
        {"a": "b"},
        33,
    )
    subject = conversion.subject_to_proto(Subject(STAFF.subject("anna"), 2))
    assert (subject.name, subject.enrollment_count) == ("galleries/staff/subjects/anna", 2)


def test_a_list_can_be_of_one_subject_of_the_same_gallery():
    request = galleries_pb2.ListEnrollmentsRequest(parent="galleries/staff")
    assert conversion.enrollment_filter_from_proto(request) == (STAFF, None)
    request.subject = "galleries/staff/subjects/anna"
    assert conversion.enrollment_filter_from_proto(request) == (STAFF, STAFF.subject("anna"))
    request.subject = "galleries/other/subjects/anna"
    with pytest.raises(InvalidArgumentError) as caught:
        conversion.enrollment_filter_from_proto(request)
    assert caught.value.reason is Reason.INVALID_FIELD


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"enrollment": "galleries/staff/enrollments/7"}, EnrollmentName("staff", 7)),
        ({"subject": "galleries/staff/subjects/anna"}, SubjectName("staff", "anna")),
    ],
)
def test_a_comparison_names_its_target(template, target, expected):
    request = matching_pb2.CompareTemplatesRequest(probe=template, **target)
    assert conversion.comparison_from_proto(request)[1] == expected


def test_a_comparison_can_carry_its_target(template):
    request = matching_pb2.CompareTemplatesRequest(probe=template, reference=template)
    probe, reference = conversion.comparison_from_proto(request)
    assert probe == reference


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, Reason.MISSING_FIELD),
        ({"enrollment": ""}, Reason.MISSING_FIELD),
        ({"enrollment": "galleries/staff/enrollments/x"}, Reason.INVALID_NAME),
        ({"subject": "anna"}, Reason.INVALID_NAME),
        ({"reference": template_pb2.Template()}, Reason.MISSING_FIELD),
        ({"subject": "galleries/staff/subjects/anna", "probe": None}, Reason.MISSING_FIELD),
    ],
)
def test_a_wrong_comparison_is_refused(template, change, reason):
    with pytest.raises(InvalidArgumentError) as caught:
        conversion.comparison_from_proto(matching_pb2.CompareTemplatesRequest(**({"probe": template} | change)))
    assert caught.value.reason is reason


def test_a_search_is_read_with_the_etags_that_the_caller_has(template):
    request = matching_pb2.SearchGalleryRequest(
        gallery="galleries/staff", probe=template, known_directory_etags=["a", "b"]
    )
    gallery, probe, known = conversion.search_from_proto(request)
    assert (gallery, probe.ciphertext, known) == (STAFF, template.ciphertext, {"a", "b"})
    request.known_directory_etags.extend(["x"] * 4095)
    with pytest.raises(InvalidArgumentError) as caught:
        conversion.search_from_proto(request)
    assert caught.value.reason is Reason.INVALID_FIELD


async def test_a_directory_is_sent_unless_the_caller_has_it(world):
    await world.enroll("anna", [1.0, 0.0, 0.0, 0.0])
    (part,) = await world.search([1.0, 0.0, 0.0, 0.0])
    sent = conversion.search_part_to_proto(part, frozenset())
    assert list(sent.directory.subject_ids) == ["anna"]
    assert [(run.first_enrollment, run.count) for run in sent.directory.runs] == [(1, 1)]
    spared = conversion.search_part_to_proto(part, {sent.directory_etag})
    assert not spared.HasField("directory")
    assert spared.directory_etag == sent.directory_etag
    assert spared.score_batch == sent.score_batch


def test_statistics_come_with_the_last_part_and_alone_if_the_gallery_is_empty():
    statistics = SearchStatistics(enrollment_count=5, segment_count=2, expand_time_s=0.25, gallery_bytes=77)
    statistics.origins[Origin.REDIS] = 2
    message = conversion.search_part_to_proto(SearchPart(None, statistics), frozenset())
    assert not message.HasField("score_batch")
    assert message.directory_etag == ""
    assert message.statistics.expand_time.ToTimedelta().total_seconds() == 0.25
    assert (message.statistics.segments_from_cache, message.statistics.segments_from_memory) == (2, 0)


def test_a_part_in_the_middle_has_no_statistics(embedder):
    signed = embedder.reference([1.0, 0.0, 0.0, 0.0])
    directory = Directory("e", (EnrollmentRun(1, 1),), ("anna",))
    message = conversion.search_part_to_proto(SearchPart(SearchedSegment(signed, directory), None), frozenset())
    assert message.HasField("score_batch")
    assert not message.HasField("statistics")
