"""The memory that searches share: within its budget, in the order of arrival."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from veilface.common.errors import Reason, ResourceExhaustedError
from veilface.matching.domain.search.room import Room


class Guests:
    """Enter a room one after the other, and stay until they are sent away."""

    def __init__(self, room):
        self.room = room
        self.inside = []
        self.tasks = {}

    async def enter(self, name, wanted_bytes):
        self.tasks[name] = asyncio.create_task(self._stay(name, wanted_bytes))
        await asyncio.sleep(0)

    async def _stay(self, name, wanted_bytes):
        async with self.room.take(wanted_bytes):
            self.inside.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                self.inside.remove(name)

    async def leave(self, name):
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks[name], return_exceptions=True)
        await asyncio.sleep(0)


@pytest.fixture
async def guests():
    guests = Guests(Room(100, most_waiting=2, setting="VEILFACE_SOMETHING"))
    yield guests
    for name in list(guests.tasks):
        await guests.leave(name)
    assert guests.room.free_bytes == 100


async def test_as_many_get_in_as_there_is_room_for(guests):
    for name in ("a", "b", "c"):
        await guests.enter(name, 40)
    assert guests.inside == ["a", "b"]
    await guests.leave("a")
    assert guests.inside == ["b", "c"]


async def test_nobody_overtakes_who_waits_for_more(guests):
    await guests.enter("a", 60)
    await guests.enter("large", 80)
    await guests.enter("small", 10)
    assert guests.inside == ["a"]
    await guests.leave("a")
    assert guests.inside == ["large", "small"]


async def test_who_needs_more_than_everything_gets_in_alone(guests):
    await guests.enter("a", 10)
    await guests.enter("huge", 1000)
    assert guests.inside == ["a"]
    await guests.leave("a")
    assert guests.inside == ["huge"]
    assert guests.room.free_bytes == 0


async def test_too_many_that_wait_are_told_what_to_do(guests):
    await guests.enter("a", 100)
    await guests.enter("b", 1)
    await guests.enter("c", 1)
    with pytest.raises(ResourceExhaustedError, match=r"2 others wait.*VEILFACE_SOMETHING") as caught:
        async with guests.room.take(1):
            pass
    assert caught.value.reason is Reason.OVERLOADED


async def test_who_stops_waiting_is_left_out(guests):
    await guests.enter("a", 90)
    await guests.enter("gone", 90)
    await guests.enter("c", 10)
    await guests.leave("gone")
    assert guests.inside == ["a", "c"]


async def test_who_goes_the_moment_it_is_let_in_gives_everything_back():
    room = Room(100)
    async with AsyncExitStack() as first:
        await first.enter_async_context(room.take(100))
        waiting = asyncio.create_task(room.enter(room.nothing(), 100))
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert room.free_bytes == 100


async def test_what_is_not_needed_any_more_lets_others_in(guests):
    async with guests.room.take(100) as share:
        await guests.enter("a", 50)
        assert guests.inside == []
        share.shrink(50)
        await asyncio.sleep(0)
        assert guests.inside == ["a"]


async def test_a_share_grows_where_there_is_room_and_nobody_waits(guests):
    async with guests.room.take(40) as share:
        assert share.grow(10)
        await guests.enter("a", 60)
        assert not share.grow(1)
        assert share.held_bytes == 50


async def test_what_is_used_already_is_counted_although_there_is_no_room(guests):
    async with guests.room.take(40) as share:
        share.resize(120)
        assert guests.room.free_bytes == -20
        await guests.enter("a", 1)
        assert guests.inside == []
        share.resize(40)
        await asyncio.sleep(0)
        assert guests.inside == ["a"]
