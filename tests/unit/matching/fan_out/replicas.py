"""Several worlds that know each other as peers, without gRPC between them."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime

import numpy as np
from tests.unit.matching.conftest import PlainComparer

from veilface.common.names import GalleryName

STAFF = GalleryName("staff")
CAPACITY = 2
SEGMENTS = 12


def vectors(count, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(count, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


PEOPLE = vectors(CAPACITY * SEGMENTS - 1)
PROBE = vectors(1, seed=9)[0]


def packed_comparer():
    return PlainComparer(capacity=CAPACITY)


def loop_comparer():
    return PlainComparer(supports_search=False)


async def answer_of(world, probe=PROBE, **changes):
    """Everything in the answer that does not differ from search to search, and the statistics."""
    parts = await world.search(probe, **changes)
    tickets = [world.ticket(part.segment.scores) for part in parts]
    assert len({ticket.nonce for ticket in tickets}) == 1
    found = [
        (
            replace(ticket, nonce=bytes(16), expire_time=datetime.min),
            part.segment.scores.ciphertext,
            part.segment.directory,
        )
        for ticket, part in zip(tickets, parts, strict=True)
    ]
    return found, parts[-1].statistics


async def assert_answer_is_as_alone(replicas, **changes):
    expected, of_alone = await answer_of(replicas.alone, **changes)
    found, statistics = await answer_of(replicas.front, **changes)
    assert found == expected
    assert len(found) == of_alone.segment_count
    return statistics


async def asked_of(replicas, peer):
    """The segments that a peer is asked for in a search of everything."""
    await replicas.front.search(PROBE)
    return peer.asked[-1].segments


class WorldPeer:
    """A world as others see it.

    Attributes:
        change: Called with each piece of its answers and its number; answers what is sent in its place.
        before: Awaited before it answers anything.
        asked: The questions that it got.
        times_left_s: How long it had for each of them.
        ended: How many of them it is done with.
    """

    def __init__(self, name, world):
        self.name = name
        self.world = world
        self.change = lambda number, part: [part]
        self.before = None
        self.asked = []
        self.times_left_s = []
        self.ended = 0

    async def score(self, question, time_left_s):
        self.asked.append(question)
        self.times_left_s.append(time_left_s)
        try:
            if self.before is not None:
                await self.before()
            number = 0
            async with aclosing(self.world.matching.peer_answers.score(question)) as parts:
                async for part in parts:
                    for sent in self.change(number, part):
                        yield sent
                    number += 1
        finally:
            self.ended += 1


class WorldPeers:
    """All but one of some peers."""

    def __init__(self, own_name):
        self.own_name = own_name
        self.others = []
        self.given_up = []

    def live(self):
        return [peer for peer in self.others if peer.name not in self.given_up]

    def give_up(self, peer, reason):
        self.given_up.append(peer.name)


class Replicas:
    """Worlds on one record store.

    Attributes:
        front: The first one.
        alone: One that has no peers.
        peers: How each of the others is seen by the first one.
    """

    def __init__(self, make_world, make_comparer, count=3, **limits):
        names = [f"replica-{number}" for number in range(count)]
        directories = [WorldPeers(name) for name in names]
        self.alone = make_world(make_comparer(), **limits)
        signer = self.alone.signer
        self.worlds = [
            make_world(make_comparer(), peers=directory, signer=signer, **limits) for directory in directories
        ]
        for own, directory in enumerate(directories):
            directory.others = [
                WorldPeer(name, world)
                for number, (name, world) in enumerate(zip(names, self.worlds, strict=True))
                if number != own
            ]
        self.directories = directories
        self.front = self.worlds[0]
        self.peers = directories[0].others

    @property
    def given_up(self):
        """The peers that the first one gave up."""
        return self.directories[0].given_up

    @property
    def retried(self):
        """What the first one scored in place of peers."""
        return self.front.events.retried


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
