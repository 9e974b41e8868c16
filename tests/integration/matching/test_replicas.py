"""Several replicas on one record store, and restarts."""

import asyncio
from contextlib import AsyncExitStack

import pytest


@pytest.fixture(params=["with Redis", "without Redis"])
def url(request, redis_server):
    return f"unix://{redis_server.unix_socket_path}" if request.param == "with Redis" else None


async def test_replicas_answer_alike_whoever_enrolled_and_erased(run_replica, url, people, face, assert_close):
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(run_replica(url)) for _ in range(2)]
        await replicas[0].create()
        for number, person in enumerate(people, 1):
            await replicas[number % 2].enroll(f"s{number}", person)
            for replica in replicas:
                assert_close((await replica.scores(face))[0], people[:number], face)
        erased = set()
        for number in (2, 9, 12):
            await replicas[number % 2].erase(number)
            erased.add(number)
            for replica in replicas:
                assert_close((await replica.scores(face))[0], people, face, erased)


async def test_searches_during_enrollments_and_erasures_are_right_for_their_generation(run_replica, url, people, face):
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(run_replica(url)) for _ in range(2)]
        await one.create()
        done = asyncio.Event()
        answers = []

        async def keep_searching(replica):
            while not done.is_set():
                answers.append((await replica.scores(face))[0])

        searches = [asyncio.create_task(keep_searching(replica)) for replica in (one, two)]
        for number, person in enumerate(people, 1):
            await (one if number % 2 else two).enroll(f"s{number}", person)
            if number % 4 == 0:
                await (two if number % 2 else one).erase(number - 1)
        done.set()
        await asyncio.gather(*searches)
        states, present = [set()], set()
        for number in range(1, len(people) + 1):
            present = present | {number}
            states.append(present)
            if number % 4 == 0:
                present = present - {number - 1}
                states.append(present)
        assert len(answers) > 4
        for answer in answers:
            assert set(answer) in states
            for number, score in answer.items():
                assert abs(score - float(people[number - 1] @ face)) < 1e-3


async def test_a_restart_changes_no_answer(run_replica, url, people, face, assert_close):
    async with run_replica(url) as replica:
        await replica.create()
        for number, person in enumerate(people, 1):
            await replica.enroll(f"s{number}", person)
        await replica.erase(1)
    async with run_replica(url) as replica:
        assert_close((await replica.scores(face))[0], people, face, erased={1})
        await replica.enroll("late", people[0])
        found, _ = await replica.scores(face)
        assert set(found) == set(range(2, 14))
