"""The pass of probes over segments, in one place. Probes that wait at the same time share one pass.

A pass reads every packed template once from memory, whoever is asked about, so a pass for several probes costs little
more memory traffic than a pass for one. There is no timer: while a pass runs, what arrives waits for the next one.
Nobody waits longer than the passes that were before it, because the oldest waiting probe always chooses what the next
pass is about.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.common.pool import BoundedPool
from veilface.crypto.contract import PreparedProbe, Segment, TemplateComparer

LARGEST_PASS: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A probe that waits for a pass."""

    comparer: TemplateComparer
    probe: PreparedProbe
    segments: Sequence[Segment]
    slots: Sequence[NDArray[np.intp]]
    answer: "asyncio.Future[tuple[list[bytes], float]]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def shares_a_pass_with(self, other: "_Waiting") -> bool:
        """Whether both are about the same slots of the same segments, with probes of one kind."""
        return (
            self.comparer is other.comparer
            and type(self.probe) is type(other.probe)
            and len(self.segments) == len(other.segments)
            and all(mine is theirs for mine, theirs in zip(self.segments, other.segments, strict=True))
            and all(np.array_equal(mine, theirs) for mine, theirs in zip(self.slots, other.slots, strict=True))
        )


class ScoringPass:
    """Scores probes against segments. For use on one event loop.

    Args:
        compute: Where passes run.
        largest_pass: How many probes share a pass at most.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        compute: BoundedPool,
        *,
        largest_pass: int = LARGEST_PASS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._compute = compute
        self._largest_pass = largest_pass
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._runner: asyncio.Task[None] | None = None

    async def score(
        self,
        comparer: TemplateComparer,
        probe: PreparedProbe,
        segments: Sequence[Segment],
        slots: Sequence[NDArray[np.intp]],
    ) -> tuple[list[bytes], float]:
        """The score ciphertexts of the given slots of each segment, and the seconds of the pass.

        Raises:
            ResourceExhaustedError: OVERLOADED if the pool is full when the probe's pass is due.
        """
        waiting = _Waiting(comparer, probe, segments, slots)
        self._waiting.append(waiting)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        try:
            return await waiting.answer
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._pass(self._next())
        finally:
            self._runner = None
            for waiting in self._waiting:
                waiting.answer.cancel()

    def _next(self) -> list[_Waiting]:
        """The oldest waiting probe, and the next oldest that can share its pass."""
        oldest = self._waiting[0]
        chosen = [each for each in self._waiting if each.shares_a_pass_with(oldest)][: self._largest_pass]
        self._waiting = [each for each in self._waiting if each not in chosen]
        return chosen

    async def _pass(self, chosen: list[_Waiting]) -> None:
        first = chosen[0]
        try:
            answers, seconds = await self._compute.run(self._score, first, [each.probe for each in chosen])
        except Exception as error:  # noqa: BLE001 - it goes to everybody who waits for this pass
            for each in chosen:
                if not each.answer.done():
                    each.answer.set_exception(error)
            return
        for each, answer in zip(chosen, answers, strict=True):
            if not each.answer.done():
                each.answer.set_result((answer, seconds))

    def _score(self, first: _Waiting, probes: list[PreparedProbe]) -> tuple[list[list[bytes]], float]:
        begin = self._clock()
        answers = first.comparer.search_many(probes, first.segments, first.slots)
        return answers, self._clock() - begin
