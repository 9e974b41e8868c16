"""Peers that die, hang, refuse or are full, and callers that go away."""

import asyncio

import pytest
from tests.unit.matching.fan_out.replicas import PROBE, SEGMENTS, STAFF, assert_answer_is_as_alone, until

from veilface.common.errors import (
    DataLossError,
    FailedPreconditionError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    UnavailableError,
)
from veilface.matching.domain.fanout.peers import Retry


def failing_at(failing_number, error):
    def change(number, part):
        if number >= failing_number:
            raise error
        return [part]

    return change


LOST = UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "connection reset")


FAILURES = [
    pytest.param(LOST, Retry.LOST, True, id="dies"),
    pytest.param(UnavailableError(Reason.NOT_READY, "stopping"), Retry.LOST, True, id="stops"),
    pytest.param(PermissionDeniedError(Reason.IDENTITY_DENIED, "no"), Retry.LOST, True, id="refuses"),
    pytest.param(ResourceExhaustedError(Reason.OVERLOADED, "full"), Retry.OVERLOADED, False, id="is full"),
    pytest.param(UnavailableError(Reason.GALLERY_CHANGED, "erased"), Retry.CHANGED, False, id="lost a template"),
    pytest.param(FailedPreconditionError(Reason.WRONG_KEY_VERSION, "moved"), Retry.CHANGED, False, id="sees a move"),
    pytest.param(UnavailableError(Reason.DEADLINE_EXCEEDED, "late"), Retry.SLOW, False, id="is late"),
]


@pytest.mark.parametrize("failing_number", [0, 2])
@pytest.mark.parametrize(("error", "cause", "is_given_up"), FAILURES)
async def test_a_peer_that_fails_costs_a_retry_and_nothing_else(
    packed_replicas, error, cause, is_given_up, failing_number
):
    packed_replicas.peers[0].change = failing_at(failing_number, error)
    await assert_answer_is_as_alone(packed_replicas)
    asked = len(packed_replicas.peers[0].asked[0].segments)
    assert packed_replicas.retried == {cause: asked - failing_number}
    assert packed_replicas.given_up == ([packed_replicas.peers[0].name] if is_given_up else [])


async def test_all_peers_may_fail_at_once(replicas):
    for peer in replicas.peers:
        peer.change = failing_at(1, LOST)
    await assert_answer_is_as_alone(replicas)
    assert len(replicas.given_up) == 2
    await assert_answer_is_as_alone(replicas)
    assert [len(peer.asked) for peer in replicas.peers] == [1, 1]


async def test_a_peer_that_hangs_is_waited_for_as_long_as_is_set(impatient_replicas):
    impatient_replicas.peers[1].before = asyncio.Event().wait
    await assert_answer_is_as_alone(impatient_replicas)
    assert impatient_replicas.retried.keys() == {Retry.SLOW}
    assert impatient_replicas.given_up == [impatient_replicas.peers[1].name]
    assert impatient_replicas.peers[1].ended == 1


async def test_a_peer_whose_memory_stays_full_says_so_in_time(impatient_replicas):
    peer = impatient_replicas.peers[1]
    room = peer.world.matching.peer_answers._room
    async with room.take(room.total_bytes):
        await assert_answer_is_as_alone(impatient_replicas)
        assert impatient_replicas.retried == {Retry.OVERLOADED: len(peer.asked[0].segments)}
        assert impatient_replicas.given_up == []
    await assert_answer_is_as_alone(impatient_replicas)
    assert impatient_replicas.retried.total() == len(peer.asked[0].segments)


async def test_a_peer_gets_half_of_a_callers_time_and_is_not_blamed(packed_replicas):
    packed_replicas.peers[1].before = asyncio.Event().wait
    probe = packed_replicas.front.embedder.probe(PROBE)
    search = packed_replicas.front.matching.search.search(STAFF, probe, time_left_s=1.0)
    parts = [part async for part in search]
    assert len(parts) == SEGMENTS
    assert packed_replicas.retried.keys() == {Retry.SLOW}
    assert all(0 < peer.times_left_s[0] <= 0.5 for peer in packed_replicas.peers)
    assert packed_replicas.given_up == []


async def test_without_a_callers_deadline_a_peer_has_none(packed_replicas):
    await packed_replicas.front.search(PROBE)
    assert [peer.times_left_s for peer in packed_replicas.peers] == [[None], [None]]


async def test_a_search_that_is_given_up_leaves_no_question_with_a_peer(packed_replicas):
    for peer in packed_replicas.peers:
        peer.before = asyncio.Event().wait
    search = asyncio.create_task(packed_replicas.front.search(PROBE))
    await until(lambda: all(peer.asked for peer in packed_replicas.peers))
    assert [peer.ended for peer in packed_replicas.peers] == [0, 0]
    search.cancel()
    await asyncio.gather(search, return_exceptions=True)
    assert [peer.ended for peer in packed_replicas.peers] == [1, 1]
    room = packed_replicas.front.matching.search._room
    assert room.free_bytes == room.total_bytes


async def test_an_error_here_is_that_of_the_search_and_ends_the_questions(packed_replicas):
    for peer in packed_replicas.peers:
        peer.before = asyncio.Event().wait
    library = packed_replicas.front.matching.library

    async def obtain(snapshot):
        raise DataLossError(Reason.DATA_LOSS, "damaged")

    library.obtain, healthy = obtain, library.obtain
    with pytest.raises(DataLossError, match="damaged"):
        await packed_replicas.front.search(PROBE)
    assert [peer.ended for peer in packed_replicas.peers] == [1, 1]
    library.obtain = healthy
    for peer in packed_replicas.peers:
        peer.before = None
    await assert_answer_is_as_alone(packed_replicas)
