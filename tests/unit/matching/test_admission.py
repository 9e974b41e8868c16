from dataclasses import replace
from datetime import UTC, datetime

import pytest

from veilface.common.attested import TemplateStatement
from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, Reason
from veilface.common.names import GalleryName
from veilface.crypto.contract import Metric, Scheme, TemplateSpace, TemplateUse
from veilface.matching.domain.admission import check_gallery, check_pair, check_use
from veilface.matching.domain.records import Gallery

STATEMENT = TemplateStatement(
    key_version="keys/faces/versions/1",
    scheme=Scheme.CKKS_PACKED,
    profile="ckks-packed-128",
    space=TemplateSpace(128),
    model="dlib",
    use=TemplateUse.PROBE,
    ciphertext_sha256=b"d" * 32,
    create_time=datetime(2030, 5, 17, tzinfo=UTC),
)
GALLERY = Gallery(
    uid=1,
    name=GalleryName("staff"),
    key_version=STATEMENT.key_version,
    scheme=STATEMENT.scheme,
    profile=STATEMENT.profile,
    model=STATEMENT.model,
    dimension=128,
    metric=Metric.COSINE,
    generation=1,
    enrollment_count=0,
    subject_count=0,
    template_bytes=0,
    create_time=STATEMENT.create_time,
)
DIFFERENCES = [
    ({"key_version": "keys/faces/versions/2"}, Reason.WRONG_KEY_VERSION),
    ({"scheme": Scheme.CKKS_TENSEAL}, Reason.WRONG_PARAMETERS),
    ({"profile": "ckks-packed-192"}, Reason.WRONG_PARAMETERS),
    ({"model": "facenet"}, Reason.WRONG_MODEL),
    ({"space": TemplateSpace(128, Metric.SQUARED_EUCLIDEAN)}, Reason.WRONG_METRIC),
    ({"space": TemplateSpace(512)}, Reason.WRONG_DIMENSION),
]


def test_a_template_like_those_of_the_gallery_is_admitted():
    check_gallery(STATEMENT, GALLERY)


@pytest.mark.parametrize(("change", "reason"), DIFFERENCES)
def test_a_template_that_differs_from_the_gallery_is_refused(change, reason):
    with pytest.raises(FailedPreconditionError) as caught:
        check_gallery(replace(STATEMENT, **change), GALLERY)
    assert caught.value.reason is reason


def test_a_gallery_without_a_model_and_a_dimension_admits_any():
    unbound = replace(GALLERY, model="", dimension=0)
    check_gallery(replace(STATEMENT, model="facenet", space=TemplateSpace(512)), unbound)


def test_two_templates_of_a_kind_are_admitted():
    check_pair(STATEMENT, replace(STATEMENT, use=TemplateUse.REFERENCE))


@pytest.mark.parametrize(("change", "reason"), DIFFERENCES)
def test_two_templates_that_differ_are_refused(change, reason):
    with pytest.raises(FailedPreconditionError) as caught:
        check_pair(STATEMENT, replace(STATEMENT, **change))
    assert caught.value.reason is reason


def test_a_template_for_the_other_side_is_refused():
    check_use(STATEMENT, TemplateUse.PROBE)
    with pytest.raises(InvalidArgumentError) as caught:
        check_use(STATEMENT, TemplateUse.REFERENCE)
    assert caught.value.reason is Reason.WRONG_USE
