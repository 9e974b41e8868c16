import asyncio
import threading
from contextvars import ContextVar

import pytest

from veilface.common.errors import Reason, ResourceExhaustedError, UnavailableError
from veilface.common.pool import BoundedPool

TIMEOUT_S = 10
color: ContextVar[str] = ContextVar("color", default="none")


@pytest.fixture
def pool():
    pool = BoundedPool(workers=1, queue_size=1)
    yield pool
    pool.close()


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


async def until(condition):
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.001)


async def test_work_runs_on_another_thread_and_its_result_comes_back(pool):
    thread, total = await pool.run(lambda a, b: (threading.current_thread(), a + b), 2, 3)
    assert total == 5
    assert thread is not threading.main_thread()


async def test_an_exception_comes_back(pool):
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    assert pool.pending == 0


async def test_a_full_pool_refuses_and_takes_work_again_afterwards(pool, gate):
    running = [asyncio.create_task(pool.run(gate.wait)) for _ in range(2)]
    await until(lambda: pool.pending == 2)
    with pytest.raises(ResourceExhaustedError) as caught:
        await pool.run(int)
    assert caught.value.reason is Reason.OVERLOADED
    gate.set()
    assert await asyncio.gather(*running) == [True, True]
    assert await pool.run(int) == 0


async def test_a_canceled_waiter_gives_its_place_back(pool, gate):
    running = asyncio.create_task(pool.run(gate.wait))
    waiting = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: pool.pending == 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.pending == 1
    gate.set()
    await running


async def test_a_canceled_caller_whose_work_runs_keeps_its_place_until_the_work_ends(pool, gate):
    started = threading.Event()

    def work():
        started.set()
        gate.wait()

    running = asyncio.create_task(pool.run(work))
    await until(started.is_set)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert pool.pending == 1
    gate.set()
    await until(lambda: pool.pending == 0)


async def test_context_variables_reach_the_thread(pool):
    color.set("green")
    assert await pool.run(color.get) == "green"


async def test_the_event_loop_runs_on_while_work_is_done(pool, gate):
    running = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: pool.pending == 1)
    # If the work held the loop, this line would never be reached and the gate never opened.
    gate.set()
    assert await running is True


async def test_a_closed_pool_refuses_with_unavailable():
    pool = BoundedPool(workers=1, queue_size=0)
    assert await pool.run(int) == 0
    pool.close()
    with pytest.raises(UnavailableError) as caught:
        await pool.run(int)
    assert caught.value.reason is Reason.NOT_READY


async def test_closing_finishes_running_work_and_tells_waiting_callers_that_the_service_stops(gate):
    pool = BoundedPool(workers=1, queue_size=1)
    started = threading.Event()

    def work():
        started.set()
        gate.wait()
        return "done"

    running = asyncio.create_task(pool.run(work))
    await until(started.is_set)
    waiting = asyncio.create_task(pool.run(int))
    await until(lambda: pool.pending == 2)
    closing = asyncio.create_task(asyncio.to_thread(pool.close))
    with pytest.raises(UnavailableError) as caught:
        await waiting
    assert caught.value.reason is Reason.NOT_READY
    gate.set()
    assert await running == "done"
    await closing


@pytest.mark.parametrize(("workers", "queue_size"), [(0, 1), (1, -1)])
def test_a_pool_of_impossible_size_is_refused(workers, queue_size):
    with pytest.raises(ValueError, match="at least"):
        BoundedPool(workers, queue_size)
