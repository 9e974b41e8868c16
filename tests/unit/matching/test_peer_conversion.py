import pytest

from veilface.common.attested import SignedTemplate
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import GalleryName
from veilface.common.signing import SignatureValue
from veilface.matching.domain.fanout.peers import PeerAnswer, PeerQuestion, SegmentRevision
from veilface.matching.peers.conversion import (
    answer_from_proto,
    answer_to_proto,
    question_from_proto,
    question_to_proto,
)

SIGNATURE = SignatureValue("spiffe://veilface/embedding", bytes(8), bytes(64))
QUESTION = PeerQuestion(
    gallery=GalleryName("staff"),
    probe=SignedTemplate(
        b"statement", b"ciphertext", SignatureValue("spiffe://veilface/embedding", bytes(8), bytes(64))
    ),
    segments=(SegmentRevision(4, 0, bytes(32)), SegmentRevision(2, 3, bytes(32))),
    gallery_uid=7,
    generation=12,
    batch_count=5,
    nonce=bytes(16),
)


def changed(message, name, value):
    if name in ("segment", "batch_index", "content_sha256"):
        setattr(message.segments[1], name, value)
    elif value is None:
        message.ClearField(name)
    else:
        setattr(message, name, value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("gallery", "", Reason.MISSING_FIELD),
        ("gallery", "staff", Reason.INVALID_NAME),
        ("probe", None, Reason.MISSING_FIELD),
        ("segments", None, Reason.MISSING_FIELD),
        ("gallery_uid", 0, Reason.INVALID_FIELD),
        ("generation", 2**63, Reason.INVALID_FIELD),
        ("batch_count", 0, Reason.INVALID_FIELD),
        ("batch_count", 2**21, Reason.INVALID_FIELD),
        ("nonce", b"short", Reason.INVALID_FIELD),
        ("segment", 2**31, Reason.INVALID_FIELD),
        ("batch_index", 5, Reason.INVALID_FIELD),
        ("batch_index", 0, Reason.INVALID_FIELD),
        ("content_sha256", bytes(31), Reason.INVALID_FIELD),
    ],
)
def test_a_question_that_no_replica_asks_is_refused(name, value, reason):
    message = question_to_proto(QUESTION)
    assert question_from_proto(message) == QUESTION
    changed(message, name, value)
    with pytest.raises(InvalidArgumentError, match=name.removesuffix("_index")) as caught:
        question_from_proto(message)
    assert caught.value.reason is reason


def test_an_answer_may_say_nothing():
    assert answer_from_proto(answer_to_proto(PeerAnswer())) == PeerAnswer()
