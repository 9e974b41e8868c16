"""What a spread search holds, and when it lets go of it."""

import asyncio
import threading
import weakref

from tests.unit.matching.fan_out.replicas import PEOPLE, PROBE, SEGMENTS, STAFF, answer_of, until


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


async def test_a_search_keeps_no_probe_once_everything_is_scored(packed_replicas, monkeypatch):
    front = packed_replicas.front
    prepare, prepared = front.comparer.prepare_probe, []

    def prepare_and_watch(*arguments):
        made = prepare(*arguments)
        prepared.append(weakref.ref(made))
        return made

    monkeypatch.setattr(front.comparer, "prepare_probe", prepare_and_watch)
    room = front.matching.search._room
    parts = front.matching.search.search(STAFF, front.embedder.probe(PROBE))
    await anext(parts)
    await until(lambda: room.total_bytes - room.free_bytes == 20 * len(PEOPLE))
    await until(lambda: prepared[0]() is None)
    assert len([part async for part in parts]) == SEGMENTS - 1
    assert room.free_bytes == room.total_bytes


async def test_peers_are_asked_while_the_probe_is_made_ready_here(packed_replicas, monkeypatch):
    front, may_end = packed_replicas.front, threading.Event()
    prepare = front.comparer.prepare_probe

    def prepare_slowly(*arguments):
        assert may_end.wait(20)
        return prepare(*arguments)

    monkeypatch.setattr(front.comparer, "prepare_probe", prepare_slowly)
    search = asyncio.create_task(front.scores(PROBE))
    await until(lambda: all(peer.ended for peer in packed_replicas.peers))
    assert front.events.by_peers == sum(len(peer.asked[0].segments) for peer in packed_replicas.peers)
    room = front.matching.search._room
    assert room.free_bytes < room.total_bytes
    may_end.set()
    assert len(await search) == len(PEOPLE)
