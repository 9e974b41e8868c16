from dataclasses import replace
from datetime import UTC, datetime

import pytest

from veilface.common.attested_segments import (
    SegmentStatement,
    SignedSegmentStatement,
    sign_segment,
    subject_ids_sha256,
    verify_segment,
)
from veilface.common.errors import InvalidArgumentError, PermissionDeniedError, Reason
from veilface.common.identities import EMBEDDING_IDENTITY, OPERATOR_IDENTITY
from veilface.common.names import GalleryName
from veilface.common.signing import TEMPLATE_DOMAIN, Signer, TrustStore
from veilface.crypto.contract import Scheme, TemplateSpace

STATEMENT = SegmentStatement(
    key_version="keys/faces/versions/1",
    scheme=Scheme.CKKS_PACKED,
    profile="ckks-packed-128",
    model="dlib-resnet/hog/chip",
    space=TemplateSpace(128),
    gallery=GalleryName("staff"),
    slot_count=2,
    segment_bytes=1000,
    segment_sha256=bytes(range(32)),
    subject_ids_sha256=subject_ids_sha256(["ada", "ben"]),
    create_time=datetime(2030, 5, 17, 1, 2, 3, 4, tzinfo=UTC),
)


@pytest.fixture
def operator():
    return Signer.generate(OPERATOR_IDENTITY)


@pytest.fixture
def trust(operator):
    return TrustStore({OPERATOR_IDENTITY: [operator.public_key_bytes]})


def refusal(call, kind):
    with pytest.raises(kind) as caught:
        call()
    return caught.value.reason


def test_a_signed_statement_is_read_as_it_was_written(operator, trust):
    assert verify_segment(trust, sign_segment(operator, STATEMENT)) == STATEMENT


def test_another_statement_under_the_same_signature_is_refused(operator, trust):
    signed = sign_segment(operator, STATEMENT)
    other = sign_segment(operator, replace(STATEMENT, slot_count=3))
    forged = SignedSegmentStatement(other.statement_bytes, signed.signature)
    assert refusal(lambda: verify_segment(trust, forged), PermissionDeniedError) is Reason.BAD_SIGNATURE


def test_an_operator_whose_key_is_not_trusted_is_refused(trust):
    signed = sign_segment(Signer.generate(OPERATOR_IDENTITY), STATEMENT)
    assert refusal(lambda: verify_segment(trust, signed), PermissionDeniedError) is Reason.UNTRUSTED_SIGNER


def test_trusted_keys_of_other_identities_do_not_vouch_for_segments():
    embedding = Signer.generate(EMBEDDING_IDENTITY)
    trust = TrustStore({EMBEDDING_IDENTITY: [embedding.public_key_bytes]})
    signed = sign_segment(embedding, STATEMENT)
    assert refusal(lambda: verify_segment(trust, signed), PermissionDeniedError) is Reason.UNTRUSTED_SIGNER


def test_a_signature_for_another_use_is_refused(operator, trust):
    statement_bytes = sign_segment(operator, STATEMENT).statement_bytes
    forged = SignedSegmentStatement(statement_bytes, operator.sign(TEMPLATE_DOMAIN, statement_bytes))
    assert refusal(lambda: verify_segment(trust, forged), PermissionDeniedError) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "change",
    [
        {"slot_count": 0},
        {"segment_bytes": 0},
        {"segment_sha256": bytes(31)},
        {"subject_ids_sha256": b""},
        {"model": ""},
        {"profile": "x" * 65},
        {"key_version": "keys/faces"},
    ],
)
def test_a_statement_with_an_impossible_value_is_not_made(change):
    with pytest.raises(InvalidArgumentError):
        replace(STATEMENT, **change)


def test_the_digest_of_subjects_tells_their_order_and_their_borders():
    digests = {subject_ids_sha256(ids) for ids in (["a", "b"], ["b", "a"], ["ab"], ["a"], ["a", "b", "b"])}
    assert len(digests) == 5
