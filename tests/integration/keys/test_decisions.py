"""Decisions on real ciphertexts, over real mutual TLS."""

import re
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from veilface.common.attested import TemplateStatement, sign_template, template_to_proto
from veilface.common.errors import Reason
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import Metric, Scheme, TemplateSpace, TemplateUse
from veilface.keys.domain.policy import KeyPolicy
from veilface.keys.domain.thresholds import ThresholdTable
from veilface.keys.v1 import key_service_pb2 as pb
from veilface.types.v1 import score_pb2

TIMEOUT_S = 60


def verify(
    service: Any, batches: list[score_pb2.ScoreBatch], operating_point: str = ""
) -> pb.DecideVerificationResponse:
    request = pb.DecideVerificationRequest(score_batches=batches, operating_point=operating_point)
    response: pb.DecideVerificationResponse = service.stub("client").DecideVerification(request, timeout=TIMEOUT_S)
    return response


def identify(service: Any, batches: list[score_pb2.ScoreBatch], top_k: int = 1) -> pb.DecideIdentificationResponse:
    def requests() -> Iterator[pb.DecideIdentificationRequest]:
        options: pb.IdentificationOptions | None = pb.IdentificationOptions(top_k=top_k)
        for batch in batches:
            yield pb.DecideIdentificationRequest(options=options, score_batch=batch)
            options = None

    response: pb.DecideIdentificationResponse = service.stub("client").DecideIdentification(
        requests(), timeout=TIMEOUT_S
    )
    return response


def reason_of(error: grpc.RpcError) -> Reason:
    return error_from_rpc(error).reason


THRESHOLD = ThresholdTable.load(None).resolve("dlib-resnet/hog/chip", Metric.COSINE, "", ()).value


@pytest.mark.parametrize(
    ("cosine", "decision"),
    [
        (0.999, pb.DECISION_MATCH),
        (THRESHOLD + 0.002, pb.DECISION_MATCH),
        (THRESHOLD - 0.002, pb.DECISION_NO_MATCH),
        (-0.5, pb.DECISION_NO_MATCH),
    ],
)
def test_the_decision_is_that_of_the_plaintext_score(
    running: Any, comparing: Any, cosine: float, decision: int
) -> None:
    response = verify(running, comparing.verification(cosine, subject=f"galleries/staff/subjects/{cosine}"))
    assert response.decision == decision
    assert response.threshold_profile == "dlib-resnet/hog/chip/balanced"


def test_a_search_answers_the_positions_of_a_plaintext_ranking(running: Any, comparing: Any) -> None:
    # Further apart than the noise of encrypted scores, so that there is one right order.
    scores = comparing.random.permutation(np.linspace(0.85, 0.999, 31))
    segments = [scores[:17], scores[17:22], scores[22:]]
    flat = [(score, batch, place) for batch, scores in enumerate(segments) for place, score in enumerate(scores)]
    expected = sorted((each for each in flat if each[0] >= THRESHOLD), key=lambda each: -each[0])[:10]
    response = identify(running, comparing.search(*segments), top_k=10)
    assert [(each.batch_index, each.score_index) for each in response.candidates] == [each[1:] for each in expected]
    assert [each.rank for each in response.candidates] == list(range(1, len(expected) + 1))
    assert response.score_count == len(flat)


def test_a_template_in_place_of_a_score_is_refused(running: Any, comparing: Any) -> None:
    reference, _ = comparing.pair(0.5)
    ciphertext = comparing.template(reference, TemplateUse.REFERENCE)
    good = comparing.verification(0.97, subject="galleries/staff/subjects/eve")[0]
    swapped = score_pb2.ScoreBatch(statement=good.statement, ciphertext=ciphertext, signature=good.signature)
    with pytest.raises(grpc.RpcError) as caught:
        verify(running, [swapped])
    assert reason_of(caught.value) is Reason.DIGEST_MISMATCH
    assert verify(running, [good]).decision == pb.DECISION_MATCH


def test_a_signed_template_is_no_score_batch(running: Any, comparing: Any) -> None:
    import hashlib
    from datetime import UTC, datetime

    reference, _ = comparing.pair(0.5)
    ciphertext = comparing.template(reference, TemplateUse.REFERENCE)
    statement = TemplateStatement(
        key_version=comparing.material.key_version,
        scheme=Scheme.CKKS_PACKED,
        profile=comparing.material.profile,
        space=TemplateSpace(128),
        model="dlib-resnet/hog/chip",
        use=TemplateUse.REFERENCE,
        ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
        create_time=datetime.now(UTC),
    )
    template = template_to_proto(sign_template(running.embedding, statement, ciphertext))
    batch = score_pb2.ScoreBatch(
        statement=template.statement, ciphertext=template.ciphertext, signature=template.signature
    )
    with pytest.raises(grpc.RpcError) as caught:
        verify(running, [batch])
    assert reason_of(caught.value) is Reason.UNTRUSTED_SIGNER


def test_even_a_matcher_cannot_have_a_template_decrypted(running: Any, comparing: Any) -> None:
    reference, _ = comparing.pair(0.5)
    ciphertext = comparing.template(reference, TemplateUse.REFERENCE)
    from veilface.common.attested import Circuit

    batches = comparing.tickets([ciphertext], [1], circuit=Circuit.VERIFY, subject="galleries/staff/subjects/mal")
    with pytest.raises(grpc.RpcError) as caught:
        verify(running, batches)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def other(running: Any, make_comparing: Any) -> Any:
    """Scores under another key of the same service."""
    running.create_key("other")
    return make_comparing(running, running.material("keys/other"), 3)


def test_another_keys_scores_under_a_lying_matchers_ticket_decrypt_to_noise(
    running: Any, comparing: Any, other: Any
) -> None:
    crossed = [other.verification(0.999, key_version=comparing.material.key_version) for _ in range(24)]
    matches = sum(verify(running, batches).decision == pb.DECISION_MATCH for batches in crossed)
    # Noise is uniform over a range of 16, of which 0.085 is a match: five of 24 happen once in three million runs.
    assert matches <= 4
    assert all(verify(running, other.verification(0.999)).decision == pb.DECISION_MATCH for _ in range(5))


def test_a_ticket_of_one_key_is_refused_for_another(running: Any, comparing: Any, other: Any) -> None:
    (own,), (theirs,) = comparing.verification(0.999), other.verification(0.999)
    renamed = score_pb2.ScoreStatement.FromString(theirs.statement)
    renamed.key_version = comparing.material.key_version
    for reason, batch in (
        (Reason.BAD_SIGNATURE, score_pb2.ScoreBatch(statement=renamed.SerializeToString())),
        (Reason.BAD_SIGNATURE, score_pb2.ScoreBatch(statement=own.statement)),
        (Reason.DIGEST_MISMATCH, score_pb2.ScoreBatch(statement=own.statement, signature=own.signature)),
    ):
        batch.ciphertext = theirs.ciphertext
        if not batch.HasField("signature"):
            batch.signature.CopyFrom(theirs.signature)
        with pytest.raises(grpc.RpcError) as caught:
            verify(running, [batch])
        assert reason_of(caught.value) is reason
    assert verify(running, [own]).decision == verify(running, [theirs]).decision == pb.DECISION_MATCH


def test_a_candidate_named_often_enough_is_left_out_by_its_slot_in_the_real_ciphertext(
    running: Any, comparing: Any
) -> None:
    gallery = {"gallery_uid": 1}
    for _ in range(KeyPolicy().quotas.matches_per_candidate):
        (candidate,) = identify(running, comparing.search([0.1, 0.2], [0.1, 0.2, 0.999], **gallery)).candidates
        assert (candidate.batch_index, candidate.score_index) == (1, 2)
    response = identify(running, comparing.search([0.1, 0.97], [0.1, 0.2, 0.999], **gallery), top_k=5)
    assert [(each.batch_index, each.score_index) for each in response.candidates] == [(0, 1)]
    assert response.withheld_candidates == 1


def test_a_search_whose_batches_do_not_arrive_is_given_up(service: Any, make_comparing: Any) -> None:
    service.settings["VEILFACE_LONGEST_STREAM_S"] = "0.5"
    service.start()
    service.create_key("slow")
    comparing = make_comparing(service, service.material("keys/slow"), 5)
    batches = comparing.search([0.1], [0.97])
    decided = threading.Event()

    def requests() -> Iterator[pb.DecideIdentificationRequest]:
        yield pb.DecideIdentificationRequest(score_batch=batches[0])
        decided.wait(TIMEOUT_S)

    with pytest.raises(grpc.RpcError) as caught:
        service.stub("client").DecideIdentification(requests(), timeout=TIMEOUT_S)
    decided.set()
    assert reason_of(caught.value) is Reason.DEADLINE_EXCEEDED
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(identify(service, batches).candidates) == 1


def test_a_replay_is_refused(running: Any, comparing: Any) -> None:
    batches = comparing.verification(0.97, subject="galleries/staff/subjects/replayed")
    verify(running, batches)
    with pytest.raises(grpc.RpcError) as caught:
        verify(running, batches)
    assert reason_of(caught.value) is Reason.TICKET_REPLAYED


def test_options_in_a_later_message_break_the_protocol(running: Any, comparing: Any) -> None:
    batches = comparing.search([0.1], [0.2])
    requests = [
        pb.DecideIdentificationRequest(options=pb.IdentificationOptions(top_k=1), score_batch=batch)
        for batch in batches
    ]
    with pytest.raises(grpc.RpcError) as caught:
        running.stub("client").DecideIdentification(iter(requests), timeout=TIMEOUT_S)
    assert reason_of(caught.value) is Reason.STREAM_PROTOCOL


def test_an_empty_stream_is_refused(running: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        identify(running, [])
    assert reason_of(caught.value) is Reason.TICKET_INCOMPLETE


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(running: Any, comparing: Any) -> None:
    batches = comparing.search([0.1], [0.97])

    def requests() -> Iterator[pb.DecideIdentificationRequest]:
        yield pb.DecideIdentificationRequest(score_batch=batches[0])
        call.cancel()

    call = running.stub("client").DecideIdentification.future(requests(), timeout=TIMEOUT_S)
    with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
        call.result(timeout=TIMEOUT_S)
    assert len(identify(running, batches).candidates) == 1


# A cosine of 0.9876 with its noise, and more digits than the log's durations have.
SCORE_IN_TEXT = re.compile(r"(?<!\d)0\.98[78]\d{2,}")


def test_logs_and_audit_hold_neither_scores_nor_ciphertexts(running: Any, comparing: Any) -> None:
    batches = comparing.verification(0.9876, subject="galleries/staff/subjects/canary")
    verify(running, batches)
    written = running.log + (running.audit_file).read_text()
    assert "keys/shared/versions/1" in written
    assert SCORE_IN_TEXT.search(written) is None
    assert SCORE_IN_TEXT.search(f'{written} "score": {0.98763:.6f}') is not None
    for canary in ("canary", batches[0].ciphertext[100:120].hex(), "DECISION_MATCH"):
        assert canary not in written
