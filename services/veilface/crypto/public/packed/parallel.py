"""The worker threads of the kernels. Kernels release the GIL; each part of a task is one call of a kernel."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise


def worker_count() -> int:
    """How many threads the kernels use: VEILFACE_CRYPTO_THREADS, or the CPUs that this process may run on."""
    configured = os.environ.get("VEILFACE_CRYPTO_THREADS", "")
    return max(1, int(configured)) if configured else len(os.sched_getaffinity(0))


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=worker_count(), thread_name_prefix="veilface-kernel")


def run_parts(parts: Sequence[Callable[[], None]]) -> None:
    """Run every part, on the calling thread if there is one, and raise the first error."""
    if len(parts) == 1 or worker_count() == 1:
        for part in parts:
            part()
        return
    for future in [_pool().submit(part) for part in parts]:
        future.result()


def split(count: int, parts: int) -> list[tuple[int, int]]:
    """`count` things as at most `parts` nearly equal ranges (first, last)."""
    parts = max(1, min(parts, count))
    bounds = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))
