import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilface.common.attested import (
    Circuit,
    ScoreStatement,
    SignedScores,
    SignedTemplate,
    TemplateStatement,
    scores_from_proto,
    scores_to_proto,
    sign_scores,
    sign_template,
    template_from_proto,
    template_to_proto,
    verify_scores,
    verify_template,
)
from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    Reason,
    VeilfaceError,
)
from veilface.common.identities import EMBEDDING_IDENTITY, MATCHING_IDENTITY
from veilface.common.signing import SCORE_DOMAIN, TEMPLATE_DOMAIN, Signer, TrustStore
from veilface.crypto.contract import Metric, Scheme, TemplateSpace, TemplateUse
from veilface.types.v1 import score_pb2, template_pb2

CIPHERTEXT = b"ciphertext"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

TEMPLATE = TemplateStatement(
    key_version="keys/default/versions/1",
    scheme=Scheme.CKKS_PACKED,
    profile="ckks-packed-128",
    space=TemplateSpace(128, Metric.COSINE),
    model="dlib-resnet/hog/chip",
    use=TemplateUse.PROBE,
    ciphertext_sha256=hashlib.sha256(CIPHERTEXT).digest(),
    create_time=NOW,
)
SCORES = ScoreStatement(
    key_version="keys/default/versions/1",
    scheme=Scheme.CKKS_PACKED,
    profile="ckks-packed-128",
    circuit=Circuit.VERIFY,
    model="dlib-resnet/hog/chip",
    space=TemplateSpace(128, Metric.COSINE),
    gallery="galleries/staff",
    generation=7,
    subject="galleries/staff/subjects/ann",
    probe_sha256=bytes(32),
    ciphertext_sha256=hashlib.sha256(CIPHERTEXT).digest(),
    score_count=2,
    batch_index=1,
    batch_count=3,
    nonce=bytes(range(16)),
    expire_time=NOW + timedelta(minutes=5),
    reference_sha256=bytes(range(32)),
)
SEARCH = {"circuit": Circuit.SEARCH, "subject": "", "reference_sha256": b"", "gallery_uid": 1}


@pytest.fixture(scope="module")
def embedding():
    return Signer.generate(EMBEDDING_IDENTITY)


@pytest.fixture(scope="module")
def matching():
    return Signer.generate(MATCHING_IDENTITY)


@pytest.fixture(scope="module")
def trust(embedding, matching):
    return TrustStore(
        {EMBEDDING_IDENTITY: [embedding.public_key_bytes], MATCHING_IDENTITY: [matching.public_key_bytes]}
    )


def refusal(call, *args):
    with pytest.raises(VeilfaceError) as caught:
        call(*args)
    return caught.value


def test_a_signed_template_survives_the_wire_and_is_verified(embedding, trust):
    wire = template_to_proto(sign_template(embedding, TEMPLATE, CIPHERTEXT)).SerializeToString()
    received = template_from_proto(template_pb2.Template.FromString(wire))
    assert received.ciphertext == CIPHERTEXT
    assert verify_template(trust, received) == TEMPLATE


def test_a_signed_score_batch_survives_the_wire_and_is_verified(matching, trust):
    wire = scores_to_proto(sign_scores(matching, SCORES, CIPHERTEXT)).SerializeToString()
    received = scores_from_proto(score_pb2.ScoreBatch.FromString(wire))
    assert received.ciphertext == CIPHERTEXT
    assert verify_scores(trust, received, NOW) == SCORES


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("use", TemplateUse)
def test_every_scheme_metric_and_use_survives(embedding, trust, scheme, metric, use):
    statement = replace(TEMPLATE, scheme=scheme, space=TemplateSpace(4096, metric), use=use)
    assert verify_template(trust, sign_template(embedding, statement, CIPHERTEXT)) == statement


@pytest.mark.parametrize(
    "statement",
    [
        replace(SCORES, subject=""),
        replace(SCORES, subject="", gallery="", generation=0),
        replace(SCORES, **SEARCH),
        replace(SCORES, **SEARCH | {"gallery_uid": 2**63 - 1, "segment": 2**31 - 1}),
    ],
)
def test_every_kind_of_ticket_survives(matching, trust, statement):
    assert verify_scores(trust, sign_scores(matching, statement, CIPHERTEXT), NOW) == statement


@given(bit=st.integers(min_value=0))
def test_a_statement_with_any_bit_flipped_is_refused_as_badly_signed(embedding, trust, bit):
    signed = sign_template(embedding, TEMPLATE, CIPHERTEXT)
    flipped = bytearray(signed.statement_bytes)
    flipped[(bit // 8) % len(flipped)] ^= 1 << (bit % 8)
    error = refusal(verify_template, trust, replace(signed, statement_bytes=bytes(flipped)))
    assert (type(error), error.reason) == (PermissionDeniedError, Reason.BAD_SIGNATURE)


def test_another_ciphertext_under_a_good_signature_is_a_digest_mismatch(embedding, matching, trust):
    template = replace(sign_template(embedding, TEMPLATE, CIPHERTEXT), ciphertext=b"another")
    assert refusal(verify_template, trust, template).reason is Reason.DIGEST_MISMATCH
    scores = replace(sign_scores(matching, SCORES, CIPHERTEXT), ciphertext=b"another")
    assert refusal(verify_scores, trust, scores, NOW).reason is Reason.DIGEST_MISMATCH


def test_nobody_signs_a_statement_about_another_ciphertext(embedding, matching):
    assert refusal(sign_template, embedding, TEMPLATE, b"another").reason is Reason.DIGEST_MISMATCH
    assert refusal(sign_scores, matching, SCORES, b"another").reason is Reason.DIGEST_MISMATCH


def test_the_matching_service_cannot_vouch_for_a_template_nor_the_embedding_service_for_scores(
    embedding, matching, trust
):
    template = sign_template(matching, TEMPLATE, CIPHERTEXT)
    assert refusal(verify_template, trust, template).reason is Reason.UNTRUSTED_SIGNER
    assert verify_template(trust, template, signers=[MATCHING_IDENTITY]) == TEMPLATE
    scores = sign_scores(embedding, SCORES, CIPHERTEXT)
    assert refusal(verify_scores, trust, scores, NOW).reason is Reason.UNTRUSTED_SIGNER


def test_a_signer_that_claims_to_be_another_is_refused(matching, trust):
    signed = sign_template(matching, TEMPLATE, CIPHERTEXT)
    forged = replace(signed, signature=replace(signed.signature, signer=EMBEDDING_IDENTITY))
    assert refusal(verify_template, trust, forged).reason is Reason.UNTRUSTED_SIGNER


def test_a_score_signature_does_not_count_for_a_template(embedding, trust):
    signed = sign_template(embedding, TEMPLATE, CIPHERTEXT)
    moved = replace(signed, signature=embedding.sign(SCORE_DOMAIN, signed.statement_bytes))
    assert refusal(verify_template, trust, moved).reason is Reason.BAD_SIGNATURE


def test_a_ticket_is_accepted_until_it_expires(matching, trust):
    signed = sign_scores(matching, SCORES, CIPHERTEXT)
    verify_scores(trust, signed, SCORES.expire_time - timedelta(microseconds=1))
    error = refusal(verify_scores, trust, signed, SCORES.expire_time)
    assert (type(error), error.reason) == (FailedPreconditionError, Reason.TICKET_EXPIRED)


def test_a_signed_statement_without_a_scheme_is_an_invalid_argument(embedding, trust):
    message = template_pb2.TemplateStatement.FromString(sign_template(embedding, TEMPLATE, CIPHERTEXT).statement_bytes)
    message.ClearField("scheme")
    data = message.SerializeToString()
    signed = SignedTemplate(data, CIPHERTEXT, embedding.sign(TEMPLATE_DOMAIN, data))
    error = refusal(verify_template, trust, signed)
    assert (type(error), error.reason) == (InvalidArgumentError, Reason.MISSING_FIELD)


def test_signed_bytes_that_are_no_statement_are_an_invalid_argument(embedding, trust):
    signed = SignedTemplate(b"\xff\xff", CIPHERTEXT, embedding.sign(TEMPLATE_DOMAIN, b"\xff\xff"))
    error = refusal(verify_template, trust, signed)
    assert (type(error), error.reason) == (InvalidArgumentError, Reason.INVALID_FIELD)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key_version": "keys/default"}, Reason.INVALID_NAME),
        ({"profile": ""}, Reason.MISSING_FIELD),
        ({"model": ""}, Reason.MISSING_FIELD),
        ({"model": "m" * 201}, Reason.INVALID_FIELD),
        ({"model": "a\nb"}, Reason.INVALID_FIELD),
        ({"gallery": "staff"}, Reason.INVALID_NAME),
        ({**SEARCH, "gallery": ""}, Reason.MISSING_FIELD),
        ({**SEARCH, "subject": "galleries/staff/subjects/ann"}, Reason.INVALID_FIELD),
        ({**SEARCH, "gallery_uid": 0}, Reason.INVALID_FIELD),
        ({**SEARCH, "segment": -1}, Reason.INVALID_FIELD),
        ({**SEARCH, "reference_sha256": bytes(32)}, Reason.INVALID_FIELD),
        ({"reference_sha256": b""}, Reason.MISSING_FIELD),
        ({"gallery_uid": 1}, Reason.INVALID_FIELD),
        ({"segment": 1}, Reason.INVALID_FIELD),
        ({"gallery": "galleries/other"}, Reason.INVALID_FIELD),
        ({"probe_sha256": b""}, Reason.MISSING_FIELD),
        ({"probe_sha256": bytes(31)}, Reason.INVALID_FIELD),
        ({"ciphertext_sha256": bytes(33)}, Reason.INVALID_FIELD),
        ({"nonce": bytes(15)}, Reason.INVALID_FIELD),
        ({"score_count": 0}, Reason.INVALID_FIELD),
        ({"batch_count": 0}, Reason.INVALID_FIELD),
        ({"batch_index": 3}, Reason.INVALID_FIELD),
        ({"generation": -1}, Reason.INVALID_FIELD),
    ],
)
def test_a_ticket_that_contradicts_itself_cannot_be_made(changes, reason):
    error = refusal(lambda: replace(SCORES, **changes))
    assert (type(error), error.reason) == (InvalidArgumentError, reason)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("statement", b"", Reason.MISSING_FIELD),
        ("statement", bytes(4097), Reason.INVALID_FIELD),
        ("ciphertext", b"", Reason.MISSING_FIELD),
        ("signature", None, Reason.MISSING_FIELD),
        ("signature", template_pb2.Signature(), Reason.MISSING_FIELD),
        ("signature", template_pb2.Signature(signer="s", key_id=bytes(7), value=bytes(64)), Reason.INVALID_FIELD),
        ("signature", template_pb2.Signature(signer="s", key_id=bytes(8), value=bytes(65)), Reason.INVALID_FIELD),
        (
            "signature",
            template_pb2.Signature(signer="s" * 257, key_id=bytes(8), value=bytes(64)),
            Reason.INVALID_FIELD,
        ),
    ],
)
@pytest.mark.parametrize(
    ("message_class", "convert"),
    [(template_pb2.Template, template_from_proto), (score_pb2.ScoreBatch, scores_from_proto)],
)
def test_an_incomplete_message_is_refused(message_class, convert, field, value, reason):
    whole = {
        "statement": bytes(4096),
        "ciphertext": b"c",
        "signature": template_pb2.Signature(signer="s", key_id=bytes(8), value=bytes(64)),
    }
    assert isinstance(convert(message_class(**whole)), SignedTemplate | SignedScores)
    error = refusal(convert, message_class(**(whole | {field: value})))
    assert (type(error), error.reason) == (InvalidArgumentError, reason)
