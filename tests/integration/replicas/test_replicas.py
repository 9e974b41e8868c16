"""Searches over three replicas: the answers of one alone, whatever happens to the others."""

import secrets
import signal
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tests.integration.replicas.conftest import SEGMENTS

from veilface.common.attested import template_to_proto
from veilface.common.errors import Reason
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import TemplateUse
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    peer_service_pb2,
    peer_service_pb2_grpc,
)

TIMEOUT_S = 60


def test_answers_are_those_of_one_replica_alone_and_all_have_their_part_in_them(stack):
    # Nobody else was there yet when the expected answer was given.
    assert stack.scored_by_peers_before == 0
    for matcher in stack.matchers:
        before = matcher.scored_by_peers()
        answer = stack.search(matcher)
        assert answer.batches == stack.expected.batches
        assert len(answer.batches) == SEGMENTS
        assert 0 < matcher.scored_by_peers() - before < SEGMENTS
        assert answer.statistics.gallery_bytes == stack.expected.statistics.gallery_bytes
        assert matcher.retried() == 0
    assert all(matcher.scored_for_peers() > 0 for matcher in stack.matchers)


def test_the_key_service_decides_on_them(stack):
    assert stack.expected_subjects == [f"p{stack.target}"]
    for matcher in stack.matchers:
        before = matcher.scored_by_peers()
        assert stack.identify(matcher) == stack.expected_subjects
        assert matcher.scored_by_peers() > before


@pytest.mark.parametrize("identity", ["client", "operator", "embedding", "keys"])
def test_a_peers_question_is_answered_for_matchers_only(stack, identity):
    question = peer_service_pb2.SearchSegmentsRequest(
        gallery="galleries/staff", probe=template_to_proto(stack.probe), gallery_uid=1, batch_count=1, nonce=bytes(16)
    )
    question.segments.add(segment=0, batch_index=0, content_sha256=bytes(32))
    with stack.matchers[0].channel(identity) as channel:
        stub = peer_service_pb2_grpc.PeerServiceStub(channel)
        for call in (
            lambda: list(stub.SearchSegments(question, timeout=TIMEOUT_S)),
            lambda: stub.GetReplica(peer_service_pb2.GetReplicaRequest(), timeout=TIMEOUT_S),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert error_from_rpc(caught.value).reason is Reason.IDENTITY_DENIED
    with stack.matchers[0].channel("matching") as channel:
        stub = peer_service_pb2_grpc.PeerServiceStub(channel)
        (answer,) = stub.SearchSegments(question, timeout=TIMEOUT_S)
        assert list(answer.changed_segments) == [0]
        assert stub.GetReplica(peer_service_pb2.GetReplicaRequest(), timeout=TIMEOUT_S).replica_id


def test_many_searches_at_once_in_the_smallest_memories_are_all_answered(stack):
    with ThreadPoolExecutor(18) as pool:
        answers = list(pool.map(stack.search, stack.matchers * 6))
    assert all(answer.batches == stack.expected.batches for answer in answers)


def test_no_search_fails_when_a_peer_is_killed_and_it_takes_part_again_when_it_is_back(stack):
    first, second, killed = stack.matchers
    with stack.searching(first, first, second, second) as searching:
        killed.kill()
        searching.wait_for_more()
        killed.start()
        stack.wait_for_peers()
        searching.wait_for_more()
    assert searching.failures == []
    assert all(answer.batches == stack.expected.batches for answer in searching.answers)
    assert first.events("peer_away")
    # Of the new process: the old one's count has gone with it.
    assert killed.scored_for_peers() > 0


def test_searches_are_answered_in_time_while_a_peer_hangs(stack):
    first, hanging, _ = stack.matchers
    hanging.send_signal(signal.SIGSTOP)
    try:
        before = first.retried(cause="slow")
        assert stack.search(first, timeout_s=20).batches == stack.expected.batches
        assert first.retried(cause="slow") > before
        # It is known by now, and nobody waits for it any more.
        assert first.peers() == 1
        before = first.retried()
        assert stack.search(first, timeout_s=20).batches == stack.expected.batches
        assert first.retried() == before
    finally:
        hanging.send_signal(signal.SIGCONT)
    stack.wait_for_peers()
    before = hanging.scored_for_peers()
    assert stack.search(first).batches == stack.expected.batches
    assert hanging.scored_for_peers() > before


def test_people_are_enrolled_and_erased_while_replicas_search(stack):
    # New people come into the last segment. A replica may still hold an erased template there, which is never scored,
    # so the same scores may come in another ciphertext.
    expected_scores, expected_directories = parts_of(stack.expected)
    with stack.searching(*stack.matchers) as searching:
        for number in range(3):
            with stack.matchers[number].channel("client") as channel:
                galleries = gallery_service_pb2_grpc.GalleryServiceStub(channel)
                enrollment = galleries.Enroll(
                    gallery_service_pb2.EnrollRequest(
                        gallery="galleries/staff",
                        subject_id=f"new{number}",
                        template=template_to_proto(stack.template(stack.people[number], TemplateUse.REFERENCE)),
                        request_id=secrets.token_hex(8),
                    ),
                    timeout=TIMEOUT_S,
                )
                for matcher in stack.matchers:
                    _, directories = parts_of(stack.search(matcher))
                    assert f"new{number}".encode() in directories[-1]
                galleries.DeleteEnrollment(
                    gallery_service_pb2.DeleteEnrollmentRequest(name=enrollment.name), timeout=TIMEOUT_S
                )
            for matcher in stack.matchers:
                assert parts_of(stack.search(matcher))[1] == expected_directories
    assert searching.failures == []
    for answer in searching.answers:
        scores, directories = parts_of(answer)
        assert scores[:-1] == expected_scores[:-1]
        assert directories[:-1] == expected_directories[:-1]
    assert [stack.identify(matcher) for matcher in stack.matchers] == [stack.expected_subjects] * 3


def test_no_search_fails_when_a_peer_is_stopped_politely(stack):
    first, stopped, third = stack.matchers
    expected = parts_of(stack.search(first))
    with stack.searching(first, third) as searching:
        assert stopped.stop() == 0
        stack.wait_for_peers(first, third, count=1)
        searching.wait_for_more()
    assert searching.failures == []
    assert all(parts_of(answer)[1] == expected[1] for answer in searching.answers)


def parts_of(answer):
    """Score ciphertexts and directories; statements name the gallery's generation and the number of batches."""
    return [batch[1] for batch in answer.batches], [batch[2] for batch in answer.batches]
