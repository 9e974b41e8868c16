"""Memory, shared cache, packing, publishing and sweeping, on one and on several replicas."""

import asyncio

import numpy as np
import pytest
from tests.unit.matching.conftest import DictCache

from veilface.common.errors import Reason, ResourceExhaustedError
from veilface.common.names import GalleryName
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.cache import Origin

STAFF = GalleryName("staff")
FIRST = SegmentPlace(1, 0)


def vectors(count, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(count, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


async def enroll_all(world, gallery_vectors, start=1):
    for number, vector in enumerate(gallery_vectors, start):
        await world.enroll(f"s{number}", vector)


def approximately(gallery_vectors, probe, erased=()):
    return pytest.approx(
        {number: float(vector @ probe) for number, vector in enumerate(gallery_vectors, 1) if number not in erased},
        abs=1e-12,
    )


async def test_enrollments_are_packed_before_the_first_search(world):
    await enroll_all(world, vectors(6))
    await world.matching.packer.idle()
    assert world.events.packed == 6
    await world.scores(vectors(1)[0])
    assert world.events.packed == 6


async def test_each_template_is_packed_once_however_often_is_searched(world):
    gallery = vectors(6)
    for number, vector in enumerate(gallery, 1):
        await world.enroll(f"s{number}", vector)
        await world.scores(vector)
    await world.settle()
    assert world.events.packed == 6


async def test_searches_at_the_same_time_pack_once(make_world):
    world = make_world()
    await world.create()
    await enroll_all(world, vectors(6))
    await world.matching.packer.close()
    await asyncio.gather(*(world.scores(vectors(1)[0]) for _ in range(8)))
    assert world.events.packed == 6


async def test_what_a_caller_asked_for_is_packed_even_if_the_caller_is_gone(world, make_world):
    await enroll_all(world, vectors(6))
    fresh = make_world()
    snapshot = fresh.matching.search._snapshots.take(STAFF).segments[0]
    asking = asyncio.create_task(fresh.matching.library.obtain(snapshot))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with asyncio.timeout(20):
        while fresh.matching.library.memory.peek(snapshot.place) is None:
            await asyncio.sleep(0.01)


async def test_a_lost_cache_changes_no_answer(make_world):
    world = make_world()
    await world.create()
    gallery, probe = vectors(9), vectors(1, seed=9)[0]
    await enroll_all(world, gallery)
    await world.settle()
    assert await world.scores(probe) == approximately(gallery, probe)
    for is_down in (False, True):
        world.shared.entries.clear()
        world.shared.is_down = is_down
        fresh = make_world()
        assert await fresh.scores(probe) == approximately(gallery, probe)
        assert fresh.events.packed == 9


async def test_a_new_replica_takes_segments_from_the_cache(make_world):
    first = make_world()
    await first.create()
    gallery, probe = vectors(9), vectors(1, seed=9)[0]
    await enroll_all(first, gallery)
    await first.settle()
    second = make_world()
    assert await second.scores(probe) == approximately(gallery, probe)
    assert second.events.packed == 0
    assert second.events.origins == [Origin.REDIS] * 3


async def test_what_came_from_the_cache_is_not_put_there_again(make_world):
    first = make_world()
    await first.create()
    await enroll_all(first, vectors(4))
    await first.settle()
    stores = first.shared.stores
    second = make_world()
    await second.scores(vectors(1)[0])
    await second.settle()
    assert second.shared.stores == stores


async def test_a_stale_cache_is_completed_from_the_rows(make_world):
    first = make_world()
    await first.create()
    gallery, probe = vectors(4), vectors(1, seed=9)[0]
    await enroll_all(first, gallery[:2])
    await first.settle()
    stale = dict(first.shared.entries)
    await enroll_all(first, gallery[2:], start=3)
    await first.settle()
    first.shared.entries |= stale
    second = make_world()
    assert await second.scores(probe) == approximately(gallery, probe)
    assert second.events.packed == 2


async def test_a_cache_entry_that_is_no_segment_is_rebuilt(make_world):
    first = make_world()
    await first.create()
    gallery, probe = vectors(4), vectors(1, seed=9)[0]
    await enroll_all(first, gallery)
    await first.settle()
    content, serialized = first.shared.entries[FIRST]
    first.shared.entries[FIRST] = (content, serialized[:-8])
    second = make_world()
    assert await second.scores(probe) == approximately(gallery, probe)
    assert second.events.origins == [Origin.ROWS]


async def test_a_cache_of_a_record_store_that_was_restored_from_an_older_state_is_not_believed(make_world, tmp_path):
    first = make_world()
    await first.create()
    gallery, probe = vectors(4), vectors(1, seed=9)[0]
    await enroll_all(first, gallery[:2])
    await first.close()
    saved = (tmp_path / "matching.db").read_bytes()
    second = make_world()
    await second.enroll("somebody", vectors(1, seed=5)[0])
    await second.settle()
    await second.close()
    (tmp_path / "matching.db").write_bytes(saved)
    third = make_world()
    await enroll_all(third, gallery[2:], start=3)
    assert await third.scores(probe) == approximately(gallery, probe)


async def test_replicas_see_each_others_enrollments_and_erasures(make_world):
    one, two = make_world(), make_world()
    await one.create()
    gallery, probe = vectors(10), vectors(1, seed=9)[0]
    for number, vector in enumerate(gallery, 1):
        await (one if number % 2 else two).enroll(f"s{number}", vector)
        expected = approximately(gallery[:number], probe)
        assert await one.scores(probe) == expected
        assert await two.scores(probe) == expected
    await two.matching.enrollments.erase(STAFF.enrollment(4))
    await one.matching.enrollments.erase(STAFF.enrollment(7))
    expected = approximately(gallery, probe, erased={4, 7})
    assert await one.scores(probe) == expected
    assert await two.scores(probe) == expected


async def test_an_erased_template_leaves_memory_and_cache_at_once_where_it_is_erased(world):
    await enroll_all(world, vectors(4))
    await world.settle()
    place = FIRST
    assert world.matching.library.memory.peek(place).segment.rows[1].any()
    await world.matching.enrollments.erase(STAFF.enrollment(2))
    assert not world.matching.library.memory.peek(place).segment.rows[1].any()
    # What was shared is gone; the cleaned segment may have been shared already in its place.
    assert place not in world.shared.entries or 1 not in world.shared.entries[place][0].slots
    await world.settle()
    assert 1 not in world.shared.entries[place][0].slots


async def test_an_erased_template_leaves_the_memory_of_other_replicas_when_they_sweep(make_world):
    one, two = make_world(), make_world()
    await one.create()
    gallery, probe = vectors(4), vectors(1, seed=9)[0]
    await enroll_all(one, gallery)
    await two.scores(probe)
    await one.settle()
    await one.matching.enrollments.erase(STAFF.enrollment(2))
    await one.settle()
    assert two.matching.library.memory.peek(FIRST).segment.rows[1].any()
    await two.matching.sweeper.sweep()
    assert not two.matching.library.memory.peek(FIRST).segment.rows[1].any()
    assert await two.scores(probe) == approximately(gallery, probe, erased={2})


async def test_a_replica_that_finds_no_clean_segment_packs_one(make_world):
    one, two = make_world(), make_world()
    await one.create()
    gallery = vectors(4)
    await enroll_all(one, gallery)
    await two.scores(gallery[0])
    await one.settle()
    await one.matching.enrollments.erase(STAFF.enrollment(2))
    two.shared.entries.clear()
    await two.matching.sweeper.sweep()
    packed = two.matching.library.memory.peek(FIRST)
    assert packed.content.slots.tolist() == [0, 2, 3]
    assert not packed.segment.rows[1].any()


async def test_a_segment_with_something_erased_is_not_published(make_world):
    one, two = make_world(), make_world(publish_quiet_s=30, publish_longest_s=30)
    await one.create()
    await enroll_all(one, vectors(4))
    await one.settle()
    one.shared.entries.clear()
    await two.scores(vectors(1)[0])
    await one.matching.enrollments.erase(STAFF.enrollment(2))
    # It publishes the clean segment.
    await one.settle()
    one.shared.entries.clear()
    await two.settle()
    assert two.shared.entries == {}


async def test_a_deleted_gallery_leaves_the_memory_of_other_replicas_when_they_sweep(make_world):
    one, two = make_world(), make_world()
    await one.create()
    await enroll_all(one, vectors(5))
    await two.scores(vectors(1)[0])
    assert two.matching.library.memory.places
    await one.matching.galleries.delete(STAFF)
    await two.matching.sweeper.sweep()
    assert two.matching.library.memory.places == []


async def test_what_a_cache_that_was_away_should_have_dropped_is_dropped_later(world):
    await enroll_all(world, vectors(4))
    await world.settle()
    world.shared.is_down = True
    await world.matching.enrollments.erase(STAFF.enrollment(2))
    await world.settle()
    world.shared.is_down = False
    assert 1 in world.shared.entries[FIRST][0].slots
    await world.matching.sweeper.sweep()
    await world.settle()
    assert 1 not in world.shared.entries[FIRST][0].slots


async def test_a_flushed_cache_is_filled_again(world):
    await enroll_all(world, vectors(6))
    await world.settle()
    assert len(world.shared.entries) == 2
    world.shared.entries.clear()
    await world.matching.sweeper.sweep()
    await world.settle()
    assert len(world.shared.entries) == 2


async def test_many_enrollments_are_published_a_few_times(make_world):
    world = make_world(publish_quiet_s=0.3, publish_longest_s=30)
    await world.create()
    await enroll_all(world, vectors(4))
    await world.matching.packer.idle()
    await enroll_all(world, vectors(4, seed=1), start=5)
    await world.settle()
    assert world.shared.stores == 2


async def test_a_segment_that_keeps_changing_is_published_in_the_end(make_world):
    world = make_world(publish_quiet_s=30, publish_longest_s=0.05)
    await world.create()
    await enroll_all(world, vectors(2))
    async with asyncio.timeout(20):
        while not world.shared.stores:
            await asyncio.sleep(0.01)


async def test_closing_publishes_what_waits(make_world):
    world = make_world(publish_quiet_s=30, publish_longest_s=30)
    await world.create()
    await enroll_all(world, vectors(4))
    await world.matching.packer.idle()
    assert world.shared.stores == 0
    await world.matching.close()
    assert world.shared.stores == 1


async def test_evaluation_keys_are_fetched_once(world):
    await enroll_all(world, vectors(4))
    await asyncio.gather(*(world.scores(vectors(1)[0]) for _ in range(4)))
    assert world.keys.fetches == 1


async def test_beyond_the_memory_what_is_kept_stays_and_the_rest_comes_from_the_cache(make_world):
    segment_bytes = 4 * 4 * 8
    first = make_world()
    await first.create()
    gallery, probe = vectors(20), vectors(1, seed=9)[0]
    await enroll_all(first, gallery)
    await first.settle()
    small = make_world(memory_bytes=5 * segment_bytes, window_bytes=2 * segment_bytes)
    await small.scores(probe)
    for _ in range(3):
        small.events.origins.clear()
        assert await small.scores(probe) == approximately(gallery, probe)
        assert small.events.origins == [Origin.MEMORY] * 3 + [Origin.REDIS] * 2


async def test_what_is_packed_but_does_not_fit_into_memory_is_published_and_not_packed_again(make_world):
    first = make_world()
    await first.create()
    gallery, probe = vectors(8), vectors(1, seed=9)[0]
    await enroll_all(first, gallery)
    await first.settle()
    first.shared.entries.clear()
    segment_bytes = 4 * 4 * 8
    small = make_world(memory_bytes=segment_bytes, window_bytes=segment_bytes)
    for _ in range(2):
        assert await small.scores(probe) == approximately(gallery, probe)
    assert small.events.packed == 8
    assert small.events.origins == [Origin.ROWS] * 2 + [Origin.REDIS] * 2


async def test_the_nearest_cache_that_has_everything_is_the_only_one_asked(make_world):
    near, far = DictCache(), DictCache()
    first = make_world(shared_cache=[near, far])
    await first.create()
    gallery, probe = vectors(4), vectors(1, seed=9)[0]
    await enroll_all(first, gallery)
    await first.settle()
    far.finds = 0
    second = make_world(shared_cache=[near, far])
    assert await second.scores(probe) == approximately(gallery, probe)
    assert (near.loads, far.finds, far.loads) == (1, 0, 0)
    near.entries.clear()
    third = make_world(shared_cache=[near, far])
    assert await third.scores(probe) == approximately(gallery, probe)
    assert far.loads == 1


async def test_what_only_a_far_cache_has_is_put_into_the_near_one_even_if_memory_is_full(make_world):
    near, far = DictCache(), DictCache()
    first = make_world(shared_cache=[far])
    await first.create()
    gallery, probe = vectors(8), vectors(1, seed=9)[0]
    await enroll_all(first, gallery)
    await first.settle()
    segment_bytes = 4 * 4 * 8
    small = make_world(shared_cache=[near, far], memory_bytes=segment_bytes, window_bytes=segment_bytes)
    assert await small.scores(probe) == approximately(gallery, probe)
    assert await small.scores(probe) == approximately(gallery, probe)
    assert (near.loads, far.loads) == (2, 2)


async def test_the_sweeper_goes_on_after_an_overload(make_world, monkeypatch):
    world = make_world(sweep_s=0.01)
    rounds = []

    async def overloaded(*_):
        rounds.append(len(rounds))
        raise ResourceExhaustedError(Reason.OVERLOADED, "all are busy")

    monkeypatch.setattr(world.matching.sweeper._caches, "drop", overloaded)
    world.matching.sweeper.start()
    async with asyncio.timeout(20):
        while len(rounds) < 3:
            await asyncio.sleep(0.01)
