"""What this machine can do: read memory, and how much of it there is."""

import os
import resource
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.typed import List
from numpy.typing import NDArray

from veilface.cli.bench.timing import seconds
from veilface.crypto.public.packed.parallel import run_parts, split, worker_count

_BYTES = 1 << 30
_ROWS = 256
_LINE_WORDS = 8
_CONTROL_GROUP = Path("/sys/fs/cgroup")


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _read(blocks: Any, first: int, last: int, out: NDArray[np.uint64], index: int) -> None:
    total = np.uint64(0)
    for row in range(first, last):
        for number in range(len(blocks)):
            words = blocks[number][row]
            # One word of a cache line fetches all of it; adding up the others would take longer than reading them.
            for position in range(0, words.shape[0], _LINE_WORDS):
                total += words[position]
    out[index] = total


def read_gb_s(arrays: Sequence[NDArray[Any]], rows: int = _ROWS) -> float:
    """How fast all threads together read arrays from memory, in 10^9 bytes per second.

    Args:
        arrays: Contiguous, all of the same size.
        rows: Into how many rows each is divided. They are read as a search reads segments: the first row of every
            array, then the second; each thread has its own rows.
    """
    blocks = List([_as_rows(array, rows) for array in arrays])
    parts = split(rows, worker_count())
    out = np.zeros(len(parts), dtype=np.uint64)

    def read() -> None:
        run_parts([partial(_read, blocks, first, last, out, index) for index, (first, last) in enumerate(parts)])

    return float(sum(block.nbytes for block in blocks)) / seconds(read) / 1e9


def read_bandwidth_gb_s() -> float:
    """How fast all threads together read an array of 1 GiB once, in 10^9 bytes per second."""
    return read_gb_s([np.ones(_BYTES // 8, dtype=np.uint64)])


def _as_rows(array: NDArray[Any], rows: int) -> NDArray[np.uint64]:
    """All of an array but for what does not fill a word in each row."""
    octets = array.reshape(-1).view(np.uint8)
    filled = octets.size // (8 * rows) * (8 * rows)
    return octets[:filled].view(np.uint64).reshape(rows, filled // (8 * rows))


def peak_resident_gib() -> float:
    """The largest resident size of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def available_memory_bytes() -> int:
    """How much memory can still be used without swapping: of the machine, and of this container if it is limited."""
    available = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        available.append(int(lines["MemAvailable"].split()[0]) * 1024)
    limit, used = _CONTROL_GROUP / "memory.max", _CONTROL_GROUP / "memory.current"
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        available.append(int(limit.read_text()) - int(used.read_text()))
    return max(0, min(available))
