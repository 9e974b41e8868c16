"""Work that nobody waits for in a queue: it tries again while a pool is full."""

import asyncio
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
