"""What this machine can do: memory bandwidth and resident memory."""

import resource
from functools import partial

import numpy as np
from numba import njit
from numpy.typing import NDArray

from veilface.cli.bench.measurement import seconds
from veilface.crypto.public.packed.parallel import run_parts, split, worker_count

_BYTES = 1 << 30


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _read(words: NDArray[np.uint64], out: NDArray[np.uint64], index: int) -> None:
    total = np.uint64(0)
    for word in words:
        total += word
    out[index] = total


def read_bandwidth_gb_s() -> float:
    """How fast all threads together read an array of 1 GiB once, in 10^9 bytes per second."""
    words = np.ones(_BYTES // 8, dtype=np.uint64)
    parts = split(words.size, worker_count())
    out = np.zeros(len(parts), dtype=np.uint64)

    def read() -> None:
        run_parts([partial(_read, words[first:last], out, index) for index, (first, last) in enumerate(parts)])

    return words.nbytes / seconds(read) / 1e9


def peak_resident_gib() -> float:
    """The largest resident size of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
