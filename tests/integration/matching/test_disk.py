"""Packed segments on the local disk: a restart costs no packing, and they are believed as little as Redis."""

import pytest

from veilface.matching.domain.segments.cache import Origin


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "segments"


async def enroll_all(replica, people):
    await replica.create()
    for number, person in enumerate(people, 1):
        await replica.enroll(f"s{number}", person)
    await replica.settle()


async def test_a_restarted_replica_maps_its_segments(run_replica, folder, people, face, assert_close):
    async with run_replica(folder=folder) as replica:
        await enroll_all(replica, people)
    async with run_replica(folder=folder) as replica:
        found, statistics = await replica.scores(face)
        assert_close(found, people, face)
        assert statistics.segments_from_disk == 1
        assert replica.measured("veilface_matching_templates_packed_total") == 0


async def test_a_mapped_segment_takes_new_enrollments_and_erasures(run_replica, folder, people, face, assert_close):
    async with run_replica(folder=folder) as replica:
        await enroll_all(replica, people[:6])
    async with run_replica(folder=folder) as replica:
        assert_close((await replica.scores(face))[0], people[:6], face)
        for number, person in enumerate(people[6:], 7):
            await replica.enroll(f"s{number}", person)
        await replica.erase(2)
        assert_close((await replica.scores(face))[0], people, face, erased={2})
    async with run_replica(folder=folder) as replica:
        found, statistics = await replica.scores(face)
        assert_close(found, people, face, erased={2})
        assert statistics.segments_from_disk == 1


async def test_a_tampered_segment_file_is_found_and_rebuilt(run_replica, folder, people, face, assert_close):
    async with run_replica(folder=folder) as replica:
        await enroll_all(replica, people)
    (path,) = folder.rglob("*.segment")
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    async with run_replica(folder=folder) as replica:
        found, statistics = await replica.scores(face)
        assert_close(found, people, face)
        assert statistics.segments_rebuilt == 1
        assert replica.measured("veilface_matching_cache_entries_refused_total") == 1


async def test_what_another_replica_erased_leaves_the_disk_with_the_next_sweep(run_replica, folder, people, face):
    async with run_replica(folder=folder) as one, run_replica(folder=folder.with_name("other")) as two:
        await enroll_all(one, people)
        await two.scores(face)
        await two.settle()
        before = {path.name for path in folder.with_name("other").rglob("*.segment")}
        await one.erase(3)
        await two.matching.sweeper.sweep()
        await two.settle()
        after = {path.name for path in folder.with_name("other").rglob("*.segment")}
        assert (len(before), len(after)) == (1, 1)
        assert before != after


async def test_a_lost_disk_is_replaced_by_redis(run_replica, folder, redis_server, people, face, assert_close):
    url = f"unix://{redis_server.unix_socket_path}"
    async with run_replica(url, folder=folder) as replica:
        await enroll_all(replica, people)
    async with run_replica(url, folder=folder.with_name("new")) as replica:
        found, statistics = await replica.scores(face)
        assert_close(found, people, face)
        assert statistics.segments_from_cache == 1
        assert replica.measured("veilface_matching_segments_total", origin=Origin.REDIS.value) == 1
        await replica.settle()
    async with run_replica(url, folder=folder.with_name("new")) as replica:
        _, statistics = await replica.scores(face)
        assert statistics.segments_from_disk == 1
