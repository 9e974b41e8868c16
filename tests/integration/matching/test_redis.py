"""Whatever happens to Redis, the answers are the same."""

import asyncio
import secrets

import pytest

from veilface.matching.v1 import gallery_service_pb2


@pytest.fixture
def url(redis_server):
    return f"unix://{redis_server.unix_socket_path}"


async def enroll_all(replica, people):
    await replica.create()
    for number, person in enumerate(people, 1):
        await replica.enroll(f"s{number}", person)
    await replica.settle()


def cached(replica, ending):
    """The keys of the cache whose names end, or contain, so."""
    return [key for key in replica.redis.scan_iter() if ending in key]


async def test_a_new_replica_finds_packed_segments_in_redis(run_replica, url, people, face, assert_close):
    async with run_replica(url) as first:
        await enroll_all(first, people)
    async with run_replica(url) as second:
        found, statistics = await second.scores(face)
        assert_close(found, people, face)
        assert (statistics.segments_from_cache, statistics.segments_rebuilt) == (1, 0)
        assert second.measured("veilface_matching_templates_packed_total") == 0
        _, statistics = await second.scores(face)
        assert statistics.segments_from_memory == 1


async def test_a_flushed_redis_changes_no_answer(run_replica, url, people, face, assert_close):
    async with run_replica(url) as first:
        await enroll_all(first, people)
        first.redis.flushall()
        assert_close((await first.scores(face))[0], people, face)
    async with run_replica(url) as second:
        second.redis.flushall()
        found, statistics = await second.scores(face)
        assert_close(found, people, face)
        assert statistics.segments_rebuilt == 1


@pytest.mark.parametrize("what", [b":listing", b":piece:"])
async def test_a_tampered_entry_is_found_and_rebuilt(run_replica, url, people, face, assert_close, what):
    async with run_replica(url) as first:
        await enroll_all(first, people)
    async with run_replica(url) as second:
        (key, *_) = cached(second, what)
        value = bytearray(second.redis.get(key))
        value[len(value) // 2] ^= 1
        second.redis.set(key, bytes(value))
        found, statistics = await second.scores(face)
        assert_close(found, people, face)
        assert statistics.segments_rebuilt == 1
        assert second.measured("veilface_matching_cache_entries_refused_total") == 1
        await second.settle()
        assert second.redis.get(key) != bytes(value)


@pytest.mark.parametrize("what", [b":listing", b":piece:", b":pieces"])
async def test_a_lost_entry_is_rebuilt(run_replica, url, people, face, assert_close, what):
    async with run_replica(url) as first:
        await enroll_all(first, people)
    async with run_replica(url) as second:
        lost = cached(second, what)
        assert lost
        second.redis.delete(*lost)
        assert_close((await second.scores(face))[0], people, face)
        await second.matching.sweeper.sweep()
        await second.settle()
        assert len(cached(second, what)) == len(lost)
    async with run_replica(url) as third:
        _, statistics = await third.scores(face)
        assert statistics.segments_from_cache == 1


@pytest.mark.parametrize("what", [b":listing", b":piece:", b":pieces"])
async def test_an_entry_of_another_type_is_no_entry(run_replica, url, people, face, assert_close, what):
    async with run_replica(url) as first:
        await enroll_all(first, people)
    async with run_replica(url) as second:
        for key in cached(second, what):
            second.redis.delete(key)
            second.redis.hset(key, "field", "value")
        assert_close((await second.scores(face))[0], people, face)


async def test_another_segments_entry_is_refused(run_replica, url, people, face, assert_close):
    async with run_replica(url) as first:
        await enroll_all(first, people[:4])
        await first.create("visitors")
        for number, person in enumerate(people[4:], 1):
            await first.enroll(f"v{number}", person, gallery="visitors")
        await first.settle()
    async with run_replica(url) as second:
        first_listing, second_listing = sorted(cached(second, b":listing"))
        second.redis.set(second_listing, second.redis.get(first_listing))
        assert_close((await second.scores(face, "visitors"))[0], people[4:], face)
        assert second.measured("veilface_matching_cache_entries_refused_total") == 1


async def test_another_record_stores_entries_are_not_found(run_replica, url, people, face, assert_close):
    async with run_replica(url) as first:
        await enroll_all(first, people[:4])
    async with run_replica(url, store="other.db") as second:
        await enroll_all(second, people[4:])
        assert_close((await second.scores(face))[0], people[4:], face)
        assert len(cached(second, b":listing")) == 2


async def test_a_stale_entry_is_completed(run_replica, url, people, face, assert_close):
    async with run_replica(url) as first:
        await enroll_all(first, people[:6])
        stale = {key: first.redis.dump(key) for key in first.redis.scan_iter()}
        for number, person in enumerate(people[6:], 7):
            await first.enroll(f"s{number}", person)
        await first.settle()
        first.redis.flushall()
        for key, value in stale.items():
            first.redis.restore(key, 0, value)
    async with run_replica(url) as second:
        found, statistics = await second.scores(face)
        assert_close(found, people, face)
        assert statistics.segments_from_cache == 1
        assert second.measured("veilface_matching_templates_packed_total") == 6


async def test_a_redis_that_is_away_from_the_start_changes_no_answer(run_replica, tmp_path, people, face, assert_close):
    async with run_replica(f"unix://{tmp_path}/nobody") as replica:
        await enroll_all(replica, people)
        assert_close((await replica.scores(face))[0], people, face)
        await replica.erase(3)
        assert_close((await replica.scores(face))[0], people, face, erased={3})
        assert replica.measured("veilface_matching_cache_reachable") == 0


async def test_a_redis_that_goes_and_comes_back_changes_no_answer(
    run_replica, redis_server, url, people, face, assert_close
):
    async with run_replica(url) as replica:
        await enroll_all(replica, people[:6])
        assert replica.measured("veilface_matching_cache_reachable") == 1
        redis_server.stop()
        for number, person in enumerate(people[6:], 7):
            await replica.enroll(f"s{number}", person)
        await replica.erase(2)
        assert_close((await replica.scores(face))[0], people, face, erased={2})
        await replica.settle()
        assert replica.measured("veilface_matching_cache_reachable") == 0
        redis_server.start()
        async with asyncio.timeout(30):
            while not replica.measured("veilface_matching_cache_reachable"):
                await replica.matching.sweeper.sweep()
                await replica.settle()
                await asyncio.sleep(0.05)
        assert_close((await replica.scores(face))[0], people, face, erased={2})


async def test_a_full_redis_changes_no_answer(run_replica, url, people, face, assert_close):
    async with run_replica(url) as replica:
        replica.redis.config_set("maxmemory", "3mb")
        replica.redis.config_set("maxmemory-policy", "noeviction")
        await enroll_all(replica, people)
        assert cached(replica, b":listing") == []
        assert_close((await replica.scores(face))[0], people, face)


async def test_erased_templates_leave_redis(run_replica, url, people, face, assert_close):
    async with run_replica(url) as replica:
        await enroll_all(replica, people)
        before = {replica.redis.get(key) for key in cached(replica, b":piece:")}
        await replica.erase(3)
        await replica.settle()
        after = {replica.redis.get(key) for key in cached(replica, b":piece:")}
        assert before
        assert after
        assert not before & after


async def test_a_deleted_gallery_leaves_nothing_in_redis(run_replica, url, people):
    async with run_replica(url) as replica:
        await enroll_all(replica, people)
        assert cached(replica, b"veilface:")
        await replica.galleries.DeleteGallery(gallery_service_pb2.DeleteGalleryRequest(name="galleries/staff"))
        await replica.settle()
        assert cached(replica, b"veilface:") == []


async def test_large_segments_are_kept_in_pieces_that_expire(run_replica, url, people):
    async with run_replica(url) as replica:
        await enroll_all(replica, people)
        place = replica.matching.library.memory.places[0]
        packed = replica.matching.library.memory.peek(place)
        serialized = secrets.token_bytes((20 << 20) + 17)
        cache = replica.matching.publisher._caches[0]
        assert cache.store(place, packed.terms, packed.content, serialized)
        pieces = cached(replica, b":piece:")
        sizes = sorted(replica.redis.strlen(key) for key in pieces)
        assert sizes == [(4 << 20) + 17, 8 << 20, 8 << 20]
        assert cache.load(cache.find(place, packed.terms)) == serialized
        assert all(0 < replica.redis.ttl(key) <= 600 for key in replica.redis.scan_iter())
