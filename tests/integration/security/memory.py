"""The memory of another process, read as a debugger or a core dump would have it, and what is found in it."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from tests.integration.security.search import PieceSearch

PAGE_BYTES = os.sysconf("SC_PAGESIZE")
CHUNK_BYTES = 16 << 20
# Bits of an entry of /proc/PID/pagemap: the page is in memory, or swapped out.
PRESENT_OR_SWAPPED = np.uint64(3 << 62)
# The kernel's own pages, the same in every process; some of them cannot be read this way.
KERNELS_OWN = ("[vvar]", "[vvar_vclock]", "[vsyscall]", "[vdso]")


@dataclass(frozen=True)
class Run:
    """Neighboring pages that hold something."""

    start: int
    end: int


def count_hits(pid: int, patterns: Mapping[str, Sequence[bytes]]) -> dict[str, int]:
    """How many of each form's pieces are in the memory of a process. Raises PermissionError if it may not be read."""
    forms = [form for form, pieces in patterns.items() for _ in pieces]
    search = PieceSearch([piece for pieces in patterns.values() for piece in pieces])
    found: set[int] = set()
    for chunk in _chunks(pid, search.longest - 1):
        found |= search.found_in(chunk)
    hits = Counter(forms[number] for number in found)
    return {form: hits[form] for form in patterns}


def held_bytes(pid: int) -> int:
    """How many bytes of a process's memory there are to read."""
    return sum(run.end - run.start for run in _runs(pid))


def _chunks(pid: int, overlap_bytes: int) -> Iterator[bytes]:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for run in _runs(pid):
            for start in range(run.start, run.end, CHUNK_BYTES):
                length = min(CHUNK_BYTES + overlap_bytes, run.end - start)
                try:
                    yield os.pread(memory.fileno(), length, start)
                except OSError:
                    # Unmapped since it was listed.
                    continue


def _runs(pid: int) -> Iterator[Run]:
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            addresses, permissions, *rest = line.split()
            if not permissions.startswith("r") or rest[-1] in KERNELS_OWN:
                continue
            start, end = (int(address, 16) for address in addresses.split("-"))
            count = (end - start) // PAGE_BYTES
            entries = np.frombuffer(os.pread(pagemap.fileno(), 8 * count, start // PAGE_BYTES * 8), dtype=np.uint64)
            held = (entries & PRESENT_OR_SWAPPED) != 0
            position = start
            for is_held, pages in groupby(held.tolist()):
                length = PAGE_BYTES * sum(1 for _ in pages)
                if is_held:
                    yield Run(position, position + length)
                position += length
