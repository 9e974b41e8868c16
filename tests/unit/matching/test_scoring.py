"""One pass at a time, and short ones take turns with long ones."""

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
        self.running = 0

    def search_many(self, probes, segments, slots):
        self.running += 1
        assert self.running == 1
        self.release.wait(10)
        self.passes.append(list(probes))
        self.running -= 1
        return [[f"{probe}:{segment}".encode() for segment in segments] for probe in probes]


@pytest.fixture
def compute():
    pool = BoundedPool(workers=2, queue_size=10)
    yield pool
    pool.close()


SLOTS = [np.arange(3)]


async def start(scoring, comparer, probe, **options):
    task = asyncio.create_task(scoring.score(comparer, [probe], ["a"], SLOTS, **options))
    await asyncio.sleep(0.01)
    return task


async def test_passes_run_one_at_a_time_in_their_order(compute):
    scoring, comparer = ScoringPass(compute), CountingComparer()
    tasks = [await start(scoring, comparer, f"p{number}") for number in range(4)]
    comparer.release.set()
    answers = [answers for answers, _ in await asyncio.gather(*tasks)]
    assert answers == [[[f"p{number}:a".encode()]] for number in range(4)]
    assert comparer.passes == [[f"p{number}"] for number in range(4)]


async def test_a_short_pass_waits_for_one_long_pass_only(compute):
    scoring, comparer = ScoringPass(compute), CountingComparer()
    tasks = [await start(scoring, comparer, f"long{number}") for number in range(3)]
    tasks += [await start(scoring, comparer, f"short{number}", is_short=True) for number in range(2)]
    comparer.release.set()
    await asyncio.gather(*tasks)
    assert comparer.passes == [["long0"], ["short0"], ["long1"], ["short1"], ["long2"]]


async def test_a_caller_that_is_gone_is_left_out_and_the_others_are_answered(compute):
    scoring, comparer = ScoringPass(compute), CountingComparer()
    tasks = [await start(scoring, comparer, probe) for probe in ("p1", "p2", "p3")]
    tasks[1].cancel()
    await asyncio.sleep(0.01)
    comparer.release.set()
    assert (await tasks[0])[0] == [[b"p1:a"]]
    assert (await tasks[2])[0] == [[b"p3:a"]]
    assert comparer.passes == [["p1"], ["p3"]]


async def test_a_caller_that_goes_when_its_turn_has_come_hands_it_on(compute):
    scoring, comparer = ScoringPass(compute), CountingComparer()
    first, second, third = [await start(scoring, comparer, probe) for probe in ("p1", "p2", "p3")]
    comparer.release.set()
    first.add_done_callback(lambda _: second.cancel())
    await first
    assert (await third)[0] == [[b"p3:a"]]


async def test_a_full_pool_fails_a_pass_and_later_ones_are_answered():
    pool = BoundedPool(workers=1, queue_size=0)
    held = threading.Event()
    busy = asyncio.create_task(pool.run(held.wait, 10))
    await asyncio.sleep(0.01)
    scoring, comparer = ScoringPass(pool), CountingComparer()
    comparer.release.set()
    with pytest.raises(ResourceExhaustedError) as caught:
        await scoring.score(comparer, ["p1"], ["a"], SLOTS)
    assert caught.value.reason is Reason.OVERLOADED
    held.set()
    await busy
    assert (await scoring.score(comparer, ["p2"], ["a"], SLOTS))[0] == [[b"p2:a"]]
    pool.close()
