"""Probes that wait together share one pass over the segments, and each gets its own answer."""

import asyncio
import threading

import numpy as np
import pytest

from veilface.common.errors import Reason, ResourceExhaustedError
from veilface.common.pool import BoundedPool
from veilface.matching.domain.search.scoring import ScoringPass


class CountingComparer:
    """Answers with what it was asked, and holds every pass until it is released."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.release = threading.Event()

    def search_many(self, probes, segments, slots):
        self.release.wait(10)
        self.passes.append(list(probes))
        return [[f"{probe}:{segment}".encode() for segment in segments] for probe in probes]


@pytest.fixture
def compute():
    pool = BoundedPool(workers=1, queue_size=10)
    yield pool
    pool.close()


SLOTS = [np.arange(3)]


async def start(scoring, comparer, probe, segments):
    task = asyncio.create_task(scoring.score(comparer, probe, segments, SLOTS))
    await asyncio.sleep(0.01)
    return task


async def test_probes_that_wait_during_a_pass_share_the_next_one(compute):
    scoring, comparer, segments = ScoringPass(compute), CountingComparer(), ["a"]
    tasks = [await start(scoring, comparer, probe, segments) for probe in ("p1", "p2", "p3")]
    comparer.release.set()
    answers = [answer for answer, _ in await asyncio.gather(*tasks)]
    assert answers == [[b"p1:a"], [b"p2:a"], [b"p3:a"]]
    assert comparer.passes == [["p1"], ["p2", "p3"]]


async def test_the_oldest_probe_chooses_the_next_pass(compute):
    scoring, comparer = ScoringPass(compute), CountingComparer()
    order = [("p1", "a"), ("p2", "b"), ("p3", "a"), ("p4", "b")]
    tasks = [await start(scoring, comparer, probe, [segment]) for probe, segment in order]
    comparer.release.set()
    await asyncio.gather(*tasks)
    assert comparer.passes == [["p1"], ["p2", "p4"], ["p3"]]


async def test_a_pass_takes_no_more_probes_than_allowed(compute):
    scoring, comparer = ScoringPass(compute, largest_pass=2), CountingComparer()
    tasks = [await start(scoring, comparer, f"p{number}", ["a"]) for number in range(5)]
    comparer.release.set()
    await asyncio.gather(*tasks)
    assert [len(probes) for probes in comparer.passes] == [1, 2, 2]


async def test_a_caller_that_is_gone_is_left_out_and_the_others_are_answered(compute):
    scoring, comparer = ScoringPass(compute), CountingComparer()
    tasks = [await start(scoring, comparer, probe, ["a"]) for probe in ("p1", "p2", "p3")]
    tasks[1].cancel()
    await asyncio.sleep(0.01)
    comparer.release.set()
    assert (await tasks[0])[0] == [b"p1:a"]
    assert (await tasks[2])[0] == [b"p3:a"]
    assert comparer.passes == [["p1"], ["p3"]]


async def test_a_full_pool_fails_the_waiting_probes_and_later_ones_are_answered():
    pool = BoundedPool(workers=1, queue_size=0)
    held = threading.Event()
    busy = asyncio.create_task(pool.run(held.wait, 10))
    await asyncio.sleep(0.01)
    scoring, comparer = ScoringPass(pool), CountingComparer()
    comparer.release.set()
    with pytest.raises(ResourceExhaustedError) as caught:
        await scoring.score(comparer, "p1", ["a"], SLOTS)
    assert caught.value.reason is Reason.OVERLOADED
    held.set()
    await busy
    assert (await scoring.score(comparer, "p2", ["a"], SLOTS))[0] == [b"p2:a"]
    pool.close()
