"""Several worlds that know each other as peers, without gRPC between them."""

import asyncio
from contextlib import aclosing


class WorldPeer:
    """A world as others see it.

    Attributes:
        change: Called with each piece of its answers and its number; answers what is sent in its place.
        before: Awaited before it answers anything.
        asked: The questions that it got.
        ended: How many of them it is done with.
    """

    def __init__(self, name, world):
        self.name = name
        self.world = world
        self.change = lambda number, part: [part]
        self.before = None
        self.asked = []
        self.ended = 0

    async def score(self, question, time_left_s):
        self.asked.append(question)
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
