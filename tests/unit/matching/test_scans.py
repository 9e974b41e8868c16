"""Searches that wait for the same gallery go over it together, and wait for memory before they take any."""

import asyncio
import threading

import numpy as np
import pytest

from veilface.common.errors import Reason, ResourceExhaustedError
from veilface.common.names import GalleryName
from veilface.crypto.contract import TemplateUse

STAFF = GalleryName("staff")
SEGMENT_BYTES = 4 * 4 * 8
SEGMENTS = 8


def vectors(count, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(count, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


GALLERY = vectors(4 * SEGMENTS)
PROBES = vectors(6, seed=9)


def right(probe):
    return pytest.approx({number: float(vector @ probe) for number, vector in enumerate(GALLERY, 1)}, abs=1e-12)


async def filled(world):
    await world.create()
    for number, vector in enumerate(GALLERY, 1):
        await world.enroll(f"s{number}", vector)
    await world.settle()
    world.comparer.passes.clear()
    world.comparer.probe_counts.clear()
    world.comparer.expanded = 0
    world.shared.loads = 0
    return world


@pytest.fixture
async def world(make_world):
    """Everything stays in memory."""
    return await filled(make_world())


@pytest.fixture
async def small_world(make_world):
    """Nothing stays in memory, and two segments are there at once."""
    return await filled(make_world(memory_bytes=2 * SEGMENT_BYTES, window_bytes=2 * SEGMENT_BYTES))


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def start(world, probe, **changes):
    """A search that is on its way: its probe is ready, and the pass that it wants is held up."""
    expanded = world.comparer.expanded
    task = asyncio.create_task(world.scores(probe, **changes))
    await world.until_expanded(expanded + 1)
    return task


async def search_together(world, **changes):
    world.comparer.may_pass.clear()
    tasks = [await start(world, probe, **changes) for probe in PROBES]
    world.comparer.may_pass.set()
    found = await asyncio.gather(*tasks)
    assert found == [right(probe) for probe in PROBES]


async def test_probes_that_wait_during_a_scan_share_the_next_one(world):
    await search_together(world)
    assert world.comparer.probe_counts == [1, 5]
    assert world.comparer.passes == [SEGMENTS, SEGMENTS]


async def test_beyond_the_memory_segments_are_loaded_once_for_all_that_share_a_scan(small_world):
    await search_together(small_world)
    assert small_world.shared.loads == 2 * SEGMENTS
    assert small_world.comparer.probe_counts == [1] * SEGMENTS + [5] * SEGMENTS


async def test_alone_every_search_loads_them_again(small_world):
    for probe in PROBES:
        assert await small_world.scores(probe) == right(probe)
    assert small_world.shared.loads == len(PROBES) * SEGMENTS


async def test_plaintext_probes_share_a_pass_where_that_costs_less(world):
    world.comparer.plaintext_probes_share_a_pass = True
    await search_together(world, use=TemplateUse.PLAINTEXT_PROBE)
    assert world.comparer.probe_counts == [1, 5]


async def test_plaintext_probes_share_the_loads_but_no_pass(small_world):
    await search_together(small_world, use=TemplateUse.PLAINTEXT_PROBE)
    assert small_world.shared.loads == 2 * SEGMENTS
    assert set(small_world.comparer.probe_counts) == {1}


async def test_plaintext_probes_that_would_share_nothing_do_not_wait_for_each_other(world):
    world.events.origins.clear()
    await search_together(world, use=TemplateUse.PLAINTEXT_PROBE)
    scans = len(world.events.origins) / SEGMENTS
    assert scans == len(PROBES)


async def test_searches_of_different_generations_share_nothing(world):
    world.comparer.may_pass.clear()
    tasks = [await start(world, PROBES[0]), await start(world, PROBES[1])]
    await world.enroll("newcomer", vectors(1, seed=4)[0])
    tasks.append(await start(world, PROBES[2]))
    world.comparer.may_pass.set()
    found = await asyncio.gather(*tasks)
    assert [len(scores) - len(GALLERY) for scores in found] == [0, 0, 1]
    assert world.comparer.probe_counts == [1, 1, 1]


async def test_who_goes_away_is_left_out_of_the_next_pass(world):
    world.comparer.may_pass.clear()
    first, gone, third = [await start(world, probe) for probe in PROBES[:3]]
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    world.comparer.may_pass.set()
    assert [await first, await third] == [right(PROBES[0]), right(PROBES[2])]
    assert world.comparer.probe_counts == [1, 1]


async def test_a_scan_that_nobody_waits_for_ends(small_world):
    small_world.comparer.may_pass.clear()
    task = await start(small_world, PROBES[0])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    small_world.comparer.may_pass.set()
    assert await small_world.scores(PROBES[1]) == right(PROBES[1])
    assert len(small_world.comparer.passes) <= 1 + SEGMENTS


async def test_a_large_gallery_is_scored_some_segments_at_a_time(world, monkeypatch):
    monkeypatch.setattr("veilface.matching.domain.search.windows.SEGMENTS_PER_WINDOW", 3)
    assert await world.scores(PROBES[0]) == right(PROBES[0])
    assert world.comparer.passes == [3, 3, 2]


@pytest.fixture
async def narrow_world(make_world):
    """One search at a time, and one that waits."""
    return await filled(make_world(search_bytes=1, waiting_searches=1))


async def test_searches_wait_for_memory_before_their_probes_are_expanded(narrow_world):
    narrow_world.comparer.may_pass.clear()
    first = await start(narrow_world, PROBES[0])
    second = asyncio.create_task(narrow_world.scores(PROBES[1]))
    await until(lambda: narrow_world.matching.search._room._waiting)
    with pytest.raises(ResourceExhaustedError, match="VEILFACE_SEARCH_MEMORY_BYTES") as caught:
        await narrow_world.scores(PROBES[2])
    assert caught.value.reason is Reason.OVERLOADED
    assert narrow_world.comparer.expanded == 1
    narrow_world.comparer.may_pass.set()
    assert [await first, await second] == [right(PROBES[0]), right(PROBES[1])]


async def test_who_takes_long_over_the_answers_does_not_keep_the_probe(world):
    room = world.matching.search._room
    parts = world.matching.search.search(STAFF, world.embedder.probe(PROBES[0]))
    await anext(parts)
    await until(lambda: len(world.comparer.passes) == 1)
    await asyncio.sleep(0.01)
    assert room.total_bytes - room.free_bytes == 20 * len(GALLERY)
    await parts.aclose()
    assert room.free_bytes == room.total_bytes


async def test_who_goes_away_while_its_probe_is_expanded_gives_its_memory_back_when_that_has_ended(world, monkeypatch):
    room, begun, may_end = world.matching.search._room, threading.Event(), threading.Event()

    def prepare_slowly(*_):
        begun.set()
        assert may_end.wait(20)

    monkeypatch.setattr(world.comparer, "prepare_probe", prepare_slowly)
    search = asyncio.create_task(world.scores(PROBES[0]))
    await until(begun.is_set)
    search.cancel()
    await asyncio.sleep(0.02)
    assert room.free_bytes < room.total_bytes
    may_end.set()
    await asyncio.gather(search, return_exceptions=True)
    assert search.cancelled()
    assert room.free_bytes == room.total_bytes
