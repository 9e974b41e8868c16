"""Galleries that change while replicas search them."""

import asyncio
from dataclasses import replace

import pytest
from tests.unit.matching.fan_out.replicas import (
    CAPACITY,
    PEOPLE,
    PROBE,
    STAFF,
    answer_of,
    asked_of,
    assert_answer_is_as_alone,
    vectors,
)

from veilface.matching.domain.fanout.peers import Retry


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
