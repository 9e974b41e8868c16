import pytest

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import KeyName, KeyVersionName
from veilface.crypto.contract import Metric, TemplateUse
from veilface.embedding.conversion import box_to_proto, key_from_proto, landmarks_to_proto, request_from_proto
from veilface.embedding.domain.face.geometry import BoundingBox, LandmarkType, Point
from veilface.embedding.domain.face.selection import FaceSelection
from veilface.embedding.v1 import embedding_service_pb2 as pb
from veilface.types.v1 import template_pb2

PROBE = template_pb2.TEMPLATE_USE_PROBE


def test_what_a_request_leaves_out_has_the_documented_defaults() -> None:
    request = request_from_proto(pb.ExtractTemplatesRequest(image=b"x", use=PROBE))
    assert request.selection is FaceSelection.EXACTLY_ONE
    assert request.metric is Metric.COSINE
    assert request.model == ""


def test_what_a_request_says_is_kept() -> None:
    message = pb.ExtractTemplatesRequest(
        image=b"x",
        use=template_pb2.TEMPLATE_USE_REFERENCE,
        face_selection=pb.FACE_SELECTION_ALL,
        model="a/b/c",
        metric=template_pb2.METRIC_SQUARED_EUCLIDEAN,
    )
    request = request_from_proto(message)
    assert (request.image, request.use, request.selection) == (b"x", TemplateUse.REFERENCE, FaceSelection.ALL)
    assert (request.model, request.metric) == ("a/b/c", Metric.SQUARED_EUCLIDEAN)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use": 0}, Reason.MISSING_FIELD),
        ({"use": 77}, Reason.INVALID_FIELD),
        ({"face_selection": 77}, Reason.INVALID_FIELD),
        ({"metric": 77}, Reason.INVALID_FIELD),
    ],
)
def test_a_wrong_field_is_refused(changes: dict[str, int], reason: Reason) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        request_from_proto(pb.ExtractTemplatesRequest(**{"image": b"x", "use": PROBE, **changes}))
    assert raised.value.reason is reason


def test_a_key_is_named_with_or_without_a_version() -> None:
    assert key_from_proto(pb.ExtractTemplatesRequest(key="keys/staff")) == KeyName("staff")
    assert key_from_proto(pb.ExtractTemplatesRequest(key="keys/staff/versions/2")) == KeyVersionName("staff", 2)


@pytest.mark.parametrize(("key", "reason"), [("", Reason.MISSING_FIELD), ("staff", Reason.INVALID_NAME)])
def test_a_missing_or_malformed_key_is_refused(key: str, reason: Reason) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        key_from_proto(pb.ExtractTemplatesRequest(key=key))
    assert raised.value.reason is reason


def test_places_are_converted() -> None:
    assert box_to_proto(BoundingBox(1, 2, 3, 4)) == pb.BoundingBox(x=1, y=2, width=3, height=4)
    landmarks = {kind: Point(index, 10 * index) for index, kind in enumerate(reversed(LandmarkType))}
    converted = landmarks_to_proto(landmarks)
    assert [landmark.type for landmark in converted] == [1, 2, 3, 4, 5]
    assert [(landmark.x, landmark.y) for landmark in converted] == [(4, 40), (3, 30), (2, 20), (1, 10), (0, 0)]
