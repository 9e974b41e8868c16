"""Passes of probes over segments, one at a time.

A pass uses all threads and the whole bandwidth of the memory, so two at once would only share them. Short passes, for
1:1 against single slots, take turns with those of galleries instead of waiting behind all of them.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from veilface.common.pool import BoundedPool
from veilface.crypto.contract import PreparedProbe, Segment, TemplateComparer


class ScoringPass:
    """Scores probes against segments. For use on one event loop.

    Args:
        compute: Where passes run.
        clock: Monotonic seconds.
    """

    def __init__(self, compute: BoundedPool, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._compute = compute
        self._clock = clock
        self._is_busy = False
        self._was_short = False
        self._short: deque[asyncio.Future[None]] = deque()
        self._long: deque[asyncio.Future[None]] = deque()

    async def score(
        self,
        comparer: TemplateComparer,
        probes: Sequence[PreparedProbe],
        segments: Sequence[Segment],
        slots: Sequence[NDArray[np.intp]],
        *,
        is_short: bool = False,
    ) -> tuple[list[list[bytes]], float]:
        """The score ciphertexts of the given slots, by probe, then segment; and the seconds of the pass.

        Raises:
            ResourceExhaustedError: OVERLOADED if the pool is full when the pass is due.
        """
        async with self._turn(is_short):
            return await self._compute.run(self._score, comparer, probes, segments, slots)

    def _score(
        self,
        comparer: TemplateComparer,
        probes: Sequence[PreparedProbe],
        segments: Sequence[Segment],
        slots: Sequence[NDArray[np.intp]],
    ) -> tuple[list[list[bytes]], float]:
        begin = self._clock()
        answers = comparer.search_many(probes, segments, slots)
        return answers, self._clock() - begin

    @asynccontextmanager
    async def _turn(self, is_short: bool) -> AsyncIterator[None]:
        if self._is_busy:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            (self._short if is_short else self._long).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        self._is_busy, self._was_short = True, is_short
        try:
            yield
        finally:
            self._next()

    def _next(self) -> None:
        """Give the turn to the oldest of the other kind, else to the oldest of this kind."""
        for queue in (self._long, self._short) if self._was_short else (self._short, self._long):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    # It stays busy until the one that waits has had its turn.
                    turn.set_result(None)
                    return
        self._is_busy = False
