"""Searches that are spread over replicas."""

from dataclasses import replace

import pytest
from tests.unit.matching.fan_out.replicas import PROBE, SEGMENTS, answer_of, assert_answer_is_as_alone, vectors

from veilface.common.errors import PermissionDeniedError
from veilface.crypto.contract import TemplateUse
from veilface.matching.domain.fanout.peers import PeerAnswer


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


async def test_a_peer_checks_a_probe_itself(packed_replicas):
    peer = packed_replicas.peers[0]
    await packed_replicas.front.search(PROBE)
    question = peer.asked[0]
    parts = [part async for part in peer.world.matching.peer_answers.score(question)]
    assert all(isinstance(part, PeerAnswer) for part in parts)
    forged = replace(question, probe=replace(question.probe, statement_bytes=question.probe.statement_bytes + b"x"))
    with pytest.raises(PermissionDeniedError):
        await anext(peer.world.matching.peer_answers.score(forged))
