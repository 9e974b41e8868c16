"""Searches that are spread over replicas, and everything that peers can do wrong."""

import asyncio
import shutil
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from tests.unit.matching.conftest import DictCache, Embedder, PlainComparer, World
from tests.unit.matching.replicas import Replicas, until

from veilface.common.errors import (
    DataLossError,
    FailedPreconditionError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    UnavailableError,
)
from veilface.common.identities import MATCHING_IDENTITY
from veilface.common.names import GalleryName
from veilface.common.signing import Signer
from veilface.crypto.contract import TemplateUse
from veilface.matching.domain.fanout.peers import PeerAnswer, Retry
from veilface.matching.domain.tickets import TicketIssuer

STAFF = GalleryName("staff")
CAPACITY = 2
SEGMENTS = 12


def vectors(count, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(count, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


PEOPLE = vectors(CAPACITY * SEGMENTS - 1)
PROBE = vectors(1, seed=9)[0]


def packed_comparer():
    return PlainComparer(capacity=CAPACITY)


def loop_comparer():
    return PlainComparer(supports_search=False)


@pytest.fixture(scope="module")
def filled_stores(tmp_path_factory):
    """Makes record stores with twelve segments in a gallery, or with as many as people; each only once."""
    stores = {}

    async def fill(make_comparer):
        if make_comparer not in stores:
            file = tmp_path_factory.mktemp("store") / "matching.db"
            world = World(f"sqlite:///{file}", Embedder(), DictCache(), make_comparer())
            await world.create()
            for number, vector in enumerate(PEOPLE, 1):
                await world.enroll(f"s{number}", vector)
            await world.close()
            stores[make_comparer] = file
        return stores[make_comparer]

    return fill


@pytest.fixture
def make_replicas(filled_stores, make_world, tmp_path):
    async def make(make_comparer=packed_comparer, **limits):
        shutil.copy(await filled_stores(make_comparer), tmp_path / "matching.db")
        return Replicas(make_world, make_comparer, **limits)

    return make


@pytest.fixture(params=[packed_comparer, loop_comparer])
async def replicas(request, make_replicas):
    return await make_replicas(request.param)


@pytest.fixture
async def packed_replicas(make_replicas):
    return await make_replicas()


async def answer_of(world, probe=PROBE, **changes):
    """Everything in the answer that does not differ from search to search, and the statistics."""
    parts = await world.search(probe, **changes)
    tickets = [world.ticket(part.segment.scores) for part in parts]
    assert len({ticket.nonce for ticket in tickets}) == 1
    found = [
        (
            replace(ticket, nonce=bytes(16), expire_time=datetime.min),
            part.segment.scores.ciphertext,
            part.segment.directory,
        )
        for ticket, part in zip(tickets, parts, strict=True)
    ]
    return found, parts[-1].statistics


async def assert_answer_is_as_alone(replicas, **changes):
    expected, of_alone = await answer_of(replicas.alone, **changes)
    found, statistics = await answer_of(replicas.front, **changes)
    assert found == expected
    assert len(found) == of_alone.segment_count
    return statistics


async def test_the_answer_is_that_of_one_replica_alone(replicas):
    statistics = await assert_answer_is_as_alone(replicas)
    assert not replicas.retried
    assert replicas.front.events.by_peers == sum(peer.world.events.for_peers for peer in replicas.peers)
    for peer in replicas.peers:
        assert peer.world.events.for_peers
    assert replicas.front.events.by_peers < statistics.segment_count
    assert statistics.origins.total() == statistics.segment_count


async def test_who_gets_the_search_does_not_matter(replicas):
    expected, _ = await answer_of(replicas.alone)
    for world in replicas.worlds:
        assert (await answer_of(world))[0] == expected


async def test_a_probe_in_the_clear_is_spread_as_well(packed_replicas):
    await assert_answer_is_as_alone(packed_replicas, use=TemplateUse.PLAINTEXT_PROBE)
    assert packed_replicas.front.events.by_peers


async def test_each_replica_keeps_the_segments_that_it_owns(packed_replicas):
    await packed_replicas.front.settle()
    readers = packed_replicas.worlds[1:]
    for _ in range(3):
        await answer_of(packed_replicas.front)
    kept = [{place.number for place in world.matching.library.memory.places} for world in readers]
    assert kept == [{segment.number for segment in peer.asked[0].segments} for peer in packed_replicas.peers]
    assert not kept[0] & kept[1]


async def test_a_peer_asks_nobody(packed_replicas):
    await answer_of(packed_replicas.front)
    assert [len(peer.asked) for peer in packed_replicas.peers] == [1, 1]
    for directory in packed_replicas.directories[1:]:
        assert [peer.asked for peer in directory.others] == [[], []]


async def test_few_segments_are_scored_where_the_search_arrives(make_replicas):
    replicas = await make_replicas(fan_out_segments=SEGMENTS + 1)
    await assert_answer_is_as_alone(replicas)
    assert not any(peer.asked for peer in replicas.peers)
    # One more person in one more segment makes the difference.
    for number, vector in enumerate(vectors(2, seed=3)):
        await replicas.front.enroll(f"new{number}", vector)
    await assert_answer_is_as_alone(replicas)
    assert all(peer.asked for peer in replicas.peers)


async def test_who_does_not_know_its_own_name_leaves_everything_to_peers(packed_replicas):
    packed_replicas.directories[0].own_name = None
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.front.events.by_peers == SEGMENTS


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


@pytest.fixture
async def impatient_replicas(make_replicas):
    return await make_replicas(peer_patience_s=0.2)


async def test_a_peer_that_hangs_is_waited_for_as_long_as_is_set(impatient_replicas):
    impatient_replicas.peers[1].before = asyncio.Event().wait
    await assert_answer_is_as_alone(impatient_replicas)
    assert impatient_replicas.retried.keys() == {Retry.SLOW}
    assert impatient_replicas.given_up == [impatient_replicas.peers[1].name]
    assert impatient_replicas.peers[1].ended == 1


async def test_a_peer_gets_half_of_a_callers_time_and_is_not_blamed(packed_replicas):
    packed_replicas.peers[1].before = asyncio.Event().wait
    probe = packed_replicas.front.embedder.probe(PROBE)
    begin_s = asyncio.get_running_loop().time()
    search = packed_replicas.front.matching.search.search(STAFF, probe, time_left_s=1.0)
    parts = [part async for part in search]
    assert len(parts) == SEGMENTS
    assert packed_replicas.retried.keys() == {Retry.SLOW}
    # Longer than the half of it, and much less than the patience with peers.
    assert asyncio.get_running_loop().time() - begin_s > 0.45
    assert packed_replicas.given_up == []


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


async def test_a_peer_that_sees_an_older_gallery_says_so(packed_replicas):
    peer = packed_replicas.peers[0]
    snapshots = peer.world.matching.search._snapshots
    older, take = snapshots.take(STAFF), snapshots.take
    numbers = [segment.number for segment in await asked_of(packed_replicas, peer)]
    await packed_replicas.front.matching.enrollments.erase(STAFF.enrollment(CAPACITY * numbers[0] + 1))
    snapshots.take = lambda name: older
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried == {Retry.CHANGED: 1}
    assert packed_replicas.given_up == []
    snapshots.take = take
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried == {Retry.CHANGED: 1}


async def asked_of(replicas, peer):
    """The segments that a peer is asked for in a search of everything."""
    await replicas.front.search(PROBE)
    return peer.asked[-1].segments


async def test_a_peer_that_sees_a_newer_gallery_says_so(packed_replicas):
    packed_replicas.directories[0].own_name = None
    expected, _ = await answer_of(packed_replicas.alone)
    snapshots = packed_replicas.front.matching.search._snapshots
    older, take = snapshots.take(STAFF), snapshots.take
    await packed_replicas.alone.enroll("late", vectors(1, seed=4)[0])
    snapshots.take = lambda name: older
    assert (await answer_of(packed_replicas.front))[0] == expected
    assert packed_replicas.retried == {Retry.CHANGED: 1}
    snapshots.take = take
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried == {Retry.CHANGED: 1}


async def test_an_erasure_during_a_search_is_answered_about_the_newer_generation(packed_replicas):
    packed_replicas.directories[0].own_name = None
    snapshots = packed_replicas.front.matching.search._snapshots
    older, take = snapshots.take(STAFF), snapshots.take
    await packed_replicas.alone.matching.enrollments.erase(STAFF.enrollment(1))
    packed_replicas.front.shared.entries.clear()
    taken = iter([older])
    snapshots.take = lambda name: next(taken, None) or take(name)
    # The peer has not got it any more, and neither has this replica.
    assert set(await packed_replicas.front.scores(PROBE)) == set(range(2, len(PEOPLE) + 1))
    assert packed_replicas.retried == {Retry.CHANGED: 1}


async def test_a_gallery_of_the_same_name_is_another_one(packed_replicas):
    peer = packed_replicas.peers[0]
    snapshots = peer.world.matching.search._snapshots
    await packed_replicas.front.search(PROBE)
    question = peer.asked[0]
    parts = [part async for part in peer.world.matching.peer_answers.score(question)]
    assert len([part for part in parts if part.batch is not None]) == len(question.segments)
    other = replace(question, gallery_uid=question.gallery_uid + 1)
    (part,) = [part async for part in peer.world.matching.peer_answers.score(other)]
    assert part.changed == tuple(segment.number for segment in question.segments)
    assert snapshots.take(STAFF).gallery.uid == question.gallery_uid


async def test_people_enroll_and_are_erased_while_replicas_search(packed_replicas):
    present = dict(enumerate(PEOPLE, 1))
    states = [dict(present)]
    done = asyncio.Event()
    answers = []

    async def keep_searching(world):
        while not done.is_set():
            answers.append(await world.scores(PROBE))

    searches = [asyncio.create_task(keep_searching(world)) for world in packed_replicas.worlds]
    for number, vector in enumerate(vectors(8, seed=5), len(PEOPLE) + 1):
        world = packed_replicas.worlds[number % 3]
        await world.enroll(f"s{number}", vector)
        present[number] = vector
        states.append(dict(present))
        gone = number - 20
        await world.matching.enrollments.erase(STAFF.enrollment(gone))
        del present[gone]
        states.append(dict(present))
    done.set()
    await asyncio.gather(*searches)
    assert len(answers) > 3
    assert packed_replicas.front.events.by_peers
    for answer in answers:
        state = next(state for state in states if state.keys() == answer.keys())
        for number, score in answer.items():
            assert score == pytest.approx(float(state[number] @ PROBE), abs=1e-9)


async def test_replicas_with_full_memories_that_ask_each_other_do_not_block_each_other(make_replicas):
    replicas = await make_replicas(search_bytes=2, window_bytes=1, memory_bytes=2)
    expected, _ = await answer_of(replicas.alone)
    async with asyncio.timeout(60):
        found = await asyncio.gather(*(answer_of(world) for world in replicas.worlds for _ in range(4)))
    assert [answer for answer, _ in found] == [expected] * 12
    assert replicas.front.events.by_peers
    for world in replicas.worlds:
        for room in (world.matching.search._room, world.matching.peer_answers._room):
            assert room.free_bytes == room.total_bytes == 1


async def test_a_search_keeps_no_probe_once_everything_is_scored(packed_replicas):
    room = packed_replicas.front.matching.search._room
    parts = packed_replicas.front.matching.search.search(STAFF, packed_replicas.front.embedder.probe(PROBE))
    await anext(parts)
    await until(lambda: all(peer.ended for peer in packed_replicas.peers))
    answer_bytes = 20 * len(PEOPLE)
    await until(lambda: room.total_bytes - room.free_bytes == answer_bytes)
    assert len([part async for part in parts]) == SEGMENTS - 1
    assert room.free_bytes == room.total_bytes


class Forger:
    """Changes the second batch of an answer."""

    def __init__(self, change):
        self._change = change

    def __call__(self, number, part):
        return self._change(part) if number == 1 else [part]


def with_other_scores(part):
    return [replace(part, batch=replace(part.batch, ciphertext=part.batch.ciphertext[::-1]))]


def of_no_segment(part):
    return [replace(part, changed=(999,))]


def twice(part):
    return [part, replace(part, statistics=None)]


def nothing(part):
    return []


FORGERIES = [with_other_scores, of_no_segment, twice, nothing]


@pytest.mark.parametrize("forge", FORGERIES)
async def test_an_answer_that_was_changed_on_the_way_is_refused_and_made_here(packed_replicas, forge):
    await assert_answer_is_as_alone(packed_replicas)
    by_peers = packed_replicas.front.events.by_peers
    packed_replicas.peers[0].change = Forger(forge)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried.keys() == {Retry.REFUSED}
    assert packed_replicas.given_up == [packed_replicas.peers[0].name]
    assert by_peers < packed_replicas.front.events.by_peers < 2 * by_peers


async def test_more_than_was_asked_for_is_refused(packed_replicas):
    peer = packed_replicas.peers[0]
    last = len(await asked_of(packed_replicas, peer)) - 1
    peer.change = lambda number, part: [part, part] if number == last else [part]
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.given_up == [peer.name]


class LyingTickets(TicketIssuer):
    """Signs something else than what was asked for."""

    def __init__(self, signer, lie):
        super().__init__(signer, 120)
        self._lie = lie

    def sign_segment(self, answer, batch_index, ciphertext, score_count, place):
        return super().sign_segment(*self._lie(answer, batch_index, ciphertext, score_count, place))


LIES = {
    "another segment": lambda a, i, c, n, p: (a, i, c, n, replace(p, number=p.number + 1)),
    "another gallery": lambda a, i, c, n, p: (a, i, c, n, replace(p, gallery_uid=p.gallery_uid + 1)),
    "another count": lambda a, i, c, n, p: (a, i, c, n + 1, p),
    "another position": lambda a, i, c, n, p: (a, (i + 1) % a.batch_count, c, n, p),
    "another answer": lambda a, i, c, n, p: (replace(a, nonce=b"another answer.."), i, c, n, p),
    "another length": lambda a, i, c, n, p: (replace(a, batch_count=a.batch_count + 1), i, c, n, p),
    "another generation": lambda a, i, c, n, p: (replace(a, gallery=replace(a.gallery, generation=1)), i, c, n, p),
    "another probe": lambda a, i, c, n, p: (
        replace(a, probe=replace(a.probe, ciphertext_sha256=bytes(32))), i, c, n, p
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
async def test_a_ticket_about_something_else_is_refused(packed_replicas, lie):
    peer = packed_replicas.peers[0]
    preparation = peer.world.matching.peer_answers._preparation
    preparation._tickets = LyingTickets(peer.world.signer, lie)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried.keys() == {Retry.REFUSED}
    # The same one, as soon as it tells the truth.
    packed_replicas.given_up.clear()
    preparation._tickets = LyingTickets(peer.world.signer, lambda *truth: truth)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.given_up == []
    assert packed_replicas.retried.total() == len(peer.asked[0].segments)


async def test_scores_signed_by_somebody_else_are_refused(packed_replicas):
    peer = packed_replicas.peers[0]
    preparation = peer.world.matching.peer_answers._preparation
    preparation._tickets = TicketIssuer(Signer.generate(MATCHING_IDENTITY), 120)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried == {Retry.REFUSED: len(peer.asked[0].segments)}


async def test_a_ticket_that_expired_is_refused(packed_replicas):
    peer = packed_replicas.peers[0]
    preparation = peer.world.matching.peer_answers._preparation
    preparation._tickets = TicketIssuer(peer.world.signer, -1)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried == {Retry.REFUSED: len(peer.asked[0].segments)}


async def test_a_peer_checks_a_probe_itself(packed_replicas):
    peer = packed_replicas.peers[0]
    await packed_replicas.front.search(PROBE)
    question = peer.asked[0]
    parts = [part async for part in peer.world.matching.peer_answers.score(question)]
    assert all(isinstance(part, PeerAnswer) for part in parts)
    forged = replace(question, probe=replace(question.probe, statement_bytes=question.probe.statement_bytes + b"x"))
    with pytest.raises(PermissionDeniedError):
        await anext(peer.world.matching.peer_answers.score(forged))
