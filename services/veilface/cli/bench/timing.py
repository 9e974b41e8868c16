"""How long work takes."""

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

    @property
    def busy_threads(self) -> float:
        """How many threads the work kept busy on average."""
        return self.cpu_s / self.wall_s


def shortest(work: Callable[[], object], repeats: int = 5) -> Timing:
    """The shortest of several runs, after one that is not counted."""
    work()
    runs = []
    for _ in range(repeats):
        cpu_s, start_s = time.process_time(), time.perf_counter()
        work()
        runs.append(Timing(time.perf_counter() - start_s, time.process_time() - cpu_s))
    return min(runs, key=lambda run: run.wall_s)


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of several runs by the clock, after one that is not counted, in seconds."""
    return shortest(work, repeats).wall_s


def timed(work: Callable[[], Result], cap_s: float) -> tuple[Timing, Result]:
    """How long work takes that may take long: as many runs as a cap allows, at least one; and its last result.

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
