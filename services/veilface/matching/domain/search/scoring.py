"""The pass of probes over segments, in one place."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from veilface.common.pool import BoundedPool
from veilface.crypto.contract import PreparedProbe, Segment, TemplateComparer


class ScoringPass:
    """Scores probes against segments.

    Args:
        compute: Where passes run.
        clock: Monotonic seconds.
    """

    def __init__(self, compute: BoundedPool, clock: Callable[[], float] = time.perf_counter) -> None:
        self._compute = compute
        self._clock = clock

    async def score(
        self,
        comparer: TemplateComparer,
        probe: PreparedProbe,
        segments: Sequence[Segment],
        slots: Sequence[NDArray[np.intp]],
    ) -> tuple[list[bytes], float]:
        """The score ciphertexts of the given slots of each segment, and the seconds of the pass."""
        return await self._compute.run(self._score, comparer, probe, segments, slots)

    def _score(
        self,
        comparer: TemplateComparer,
        probe: PreparedProbe,
        segments: Sequence[Segment],
        slots: Sequence[NDArray[np.intp]],
    ) -> tuple[list[bytes], float]:
        begin = self._clock()
        ciphertexts = comparer.search(probe, segments, slots)
        return ciphertexts, self._clock() - begin
