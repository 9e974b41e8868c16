"""CPU work off the event loop, with a bound on how much of it may wait."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

from veilface.common.errors import Reason, ResourceExhaustedError, UnavailableError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class BoundedPool:
    """A fixed number of threads and a queue of fixed length in front of them.

    Args:
        workers: How many calls run at once, at least 1.
        queue_size: How many more may wait, at least 0.
        name: The prefix of the threads' names.
    """

    def __init__(self, workers: int, queue_size: int, name: str = "pool") -> None:
        if workers < 1 or queue_size < 0:
            raise ValueError(f"a pool needs at least 1 worker and a queue of at least 0, got {workers}, {queue_size}")
        self._executor = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)
        self._capacity = workers + queue_size
        self._lock = threading.Lock()
        self._pending = 0
        self._closed = False

    @property
    def pending(self) -> int:
        """How many calls run or wait now."""
        return self._pending

    async def run(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `fn(*args)` on a thread and answer its result.

        A canceled caller frees its place in the queue; a call that runs already runs to its end and keeps its place
        until then, so that cancellation cannot pile up work.

        Raises:
            ResourceExhaustedError: OVERLOADED if all threads are busy and the queue is full.
            UnavailableError: NOT_READY if the pool is closed.
        """
        with self._lock:
            if self._closed:
                raise _stopping()
            if self._pending >= self._capacity:
                raise ResourceExhaustedError(
                    Reason.OVERLOADED, f"{self._pending} calls run or wait already; try again later"
                )
            self._pending += 1
            # Log fields and the caller's identity travel in context variables.
            work = partial(contextvars.copy_context().run, fn, *args)
            future: Future[T] = self._executor.submit(work)
        future.add_done_callback(self._release)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                # The pool dropped the work; nobody canceled this task.
                raise _stopping() from None
            raise

    def close(self) -> None:
        """Refuse new calls, drop the waiting ones and wait for the running ones."""
        with self._lock:
            self._closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _release(self, _: Future[Any]) -> None:
        with self._lock:
            self._pending -= 1


def _stopping() -> UnavailableError:
    return UnavailableError(Reason.NOT_READY, "the service is stopping; try another replica")
