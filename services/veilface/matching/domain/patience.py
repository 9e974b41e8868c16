"""Work that tries again while a pool is full, and work whose end is waited for whatever happens."""

import asyncio
import threading
from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

from veilface.common.errors import Reason, ResourceExhaustedError
from veilface.common.pool import BoundedPool

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_TRIES: Final = 600
_PAUSE_S: Final = 0.05


async def run_patiently(pool: BoundedPool, fn: Callable[[*Ts], T], *args: *Ts) -> T:
    """Run `fn(*args)` on the pool as soon as there is room, which is looked for during half a minute.

    Raises:
        ResourceExhaustedError: OVERLOADED if there was no room all the time.
    """
    for _ in range(_TRIES):
        try:
            return await pool.run(fn, *args)
        except ResourceExhaustedError as error:
            if error.reason is not Reason.OVERLOADED:
                raise
        await asyncio.sleep(_PAUSE_S)
    return await pool.run(fn, *args)


async def run_to_its_end(pool: BoundedPool, fn: Callable[[*Ts], T], *args: *Ts) -> T:
    """Run `fn(*args)` on the pool. A canceled caller goes on only when a call that has begun has ended.

    For calls that take memory: who holds it for them must not give it back before.

    Raises:
        ResourceExhaustedError: OVERLOADED if the pool is full.
    """
    loop, begun, ended = asyncio.get_running_loop(), threading.Event(), asyncio.Event()

    def work() -> T:
        begun.set()
        try:
            return fn(*args)
        finally:
            loop.call_soon_threadsafe(ended.set)

    try:
        return await pool.run(work)
    except asyncio.CancelledError:
        if begun.is_set():
            await ended.wait()
        raise
