"""The time that work takes when one run may take long: as many runs as a cap allows, at least one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_MOST_RUNS = 5
_PATIENCE = 6

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Timing:
    """The shortest of the runs, in seconds.

    Attributes:
        wall_s: By the clock.
        cpu_s: Of all threads of this process together; what else the machine does disturbs it less.
    """

    wall_s: float
    cpu_s: float


def timed(work: Callable[[], Result], cap_s: float) -> tuple[Timing, Result]:
    """How long `work` takes, and its last result.

    It runs again while all runs together stay below `cap_s`; and in any case once more if the first run, which may
    have had things to load or to compile, did not take much longer than that.
    """
    wall_s = cpu_s = float("inf")
    total_s = 0.0
    for run in range(_MOST_RUNS):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = work()
        run_s = time.perf_counter() - start
        wall_s, cpu_s = min(wall_s, run_s), min(cpu_s, time.process_time() - cpu_start)
        total_s += run_s
        allowed_s = cap_s if run else _PATIENCE * cap_s
        if total_s + wall_s > allowed_s:
            break
    return Timing(wall_s, cpu_s), result
