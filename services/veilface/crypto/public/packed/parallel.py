"""The worker threads of the kernels. Kernels release the GIL; each part of a task is one call of a kernel.

Scoring passes come in long parts, expansions in many short ones, each of which waits for the ones before. They have
threads of their own, so that an expansion shares the CPUs with the passes that run instead of waiting behind them.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Final

from veilface.common.errors import ConfigurationError, Reason

THREADS_VARIABLE: Final = "VEILFACE_CRYPTO_THREADS"


def worker_count() -> int:
    """How many threads a pass or an expansion uses: VEILFACE_CRYPTO_THREADS, or the CPUs this process may run on.

    Raises:
        ConfigurationError: INVALID_SETTING if the variable is neither empty nor a positive number.
    """
    configured = os.environ.get(THREADS_VARIABLE, "")
    if not configured:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (configured.isascii() and configured.isdigit() and int(configured) > 0):
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"{THREADS_VARIABLE} is the number of threads of the kernels, 1 or more, not {configured!r}; "
            "leave it out to use every CPU",
        )
    return int(configured)


@cache
def _pool(name: str, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"veilface-{name}")


def _run(parts: Sequence[Callable[[], None]], name: str) -> None:
    threads = worker_count()
    if len(parts) == 1 or threads == 1:
        for part in parts:
            part()
        return
    pool = _pool(name, threads)
    for future in [pool.submit(part) for part in parts]:
        future.result()


def run_parts(parts: Sequence[Callable[[], None]]) -> None:
    """Run every part, on the calling thread if there is one, and raise the first error."""
    _run(parts, "kernel")


def run_urgent_parts(parts: Sequence[Callable[[], None]]) -> None:
    """`run_parts` on the threads of expansions, past any pass that waits."""
    _run(parts, "expansion")


def split(count: int, parts: int) -> list[tuple[int, int]]:
    """`count` things as at most `parts` nearly equal ranges (first, last)."""
    parts = max(1, min(parts, count))
    bounds = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))
