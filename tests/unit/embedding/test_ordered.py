import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from veilface.embedding.ordered import map_in_order

PATIENCE_S = 10


async def count_to(end: int) -> AsyncIterator[int]:
    for number in range(end):
        yield number


class Gates:
    """Work on item n that goes on when gate n is opened."""

    def __init__(self, count: int) -> None:
        self.events = [asyncio.Event() for _ in range(count)]
        self.started: list[int] = []
        self.canceled: list[int] = []

    async def work(self, index: int, item: int) -> int:
        self.started.append(index)
        try:
            await self.events[index].wait()
        except asyncio.CancelledError:
            self.canceled.append(index)
            raise
        return item * 10


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def patience() -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE_S):
        yield


async def test_results_come_in_the_order_of_the_items() -> None:
    gates = Gates(3)
    for index in (2, 1, 0):
        gates.events[index].set()
        await settle()
    assert [result async for result in map_in_order(count_to(3), gates.work, 3)] == [0, 10, 20]


async def test_a_result_comes_before_the_next_item_is_sent() -> None:
    received = asyncio.Event()

    async def one_after_the_other() -> AsyncIterator[int]:
        yield 1
        await received.wait()
        yield 2

    async def double(_: int, item: int) -> int:
        return 2 * item

    results = []
    async for result in map_in_order(one_after_the_other(), double, 4):
        results.append(result)
        received.set()
    assert results == [2, 4]


async def test_no_more_than_the_allowed_number_of_items_is_worked_on() -> None:
    gates = Gates(5)
    results = map_in_order(count_to(5), gates.work, 2)
    first = asyncio.ensure_future(anext(results))
    await settle()
    assert gates.started == [0, 1]
    gates.events[1].set()
    await settle()
    assert gates.started == [0, 1]
    gates.events[0].set()
    await first
    following = asyncio.ensure_future(anext(results))
    await settle()
    assert gates.started == [0, 1, 2]
    assert await following == 10
    await results.aclose()


async def test_closing_cancels_the_work_under_way() -> None:
    gates = Gates(3)
    gates.events[0].set()
    async with aclosing(map_in_order(count_to(3), gates.work, 3)) as results:
        assert await anext(results) == 0
        await settle()
    assert gates.canceled == [1, 2]


async def test_a_broken_stream_ends_the_results_with_its_error() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    async def same(_: int, item: int) -> int:
        return item

    results = map_in_order(broken(), same, 4)
    assert await anext(results) == 1
    with pytest.raises(ConnectionError):
        await anext(results)


async def test_an_empty_stream_has_no_results() -> None:
    assert [result async for result in map_in_order(count_to(0), Gates(0).work, 2)] == []
