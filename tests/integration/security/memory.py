"""The memory of another process, read as a debugger would or written to a core file, and what is found in it."""

import os
import signal
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
# The ELF specification: a 64-bit little-endian core for x86-64, and a readable loaded segment.
_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_ELF_CORE = (b"\x7fELF\x02\x01\x01", 4, 62, 1, 0)
_LOADED, _READABLE = 1, 4


@dataclass(frozen=True)
class Run:
    """Neighboring pages that hold something."""

    start: int
    end: int


def count_hits(pid: int, patterns: Mapping[str, Sequence[bytes]]) -> dict[str, int]:
    """How many of each form's pieces are in the memory of a process. Raises PermissionError if it may not be read."""
    return _count(patterns, lambda overlap_bytes: _chunks(pid, overlap_bytes))


def count_hits_in_file(path: Path, patterns: Mapping[str, Sequence[bytes]]) -> dict[str, int]:
    """How many of each form's pieces are in a file."""
    return _count(patterns, lambda overlap_bytes: _chunks_of_file(path, overlap_bytes))


def write_core(pid: int, path: Path) -> None:
    """Stop a process for a moment and write all of its memory to an ELF core file, as gcore does, without its notes.

    The kernel's own dump would need the process to die, and a core_pattern that leads to a file.
    """
    os.kill(pid, signal.SIGSTOP)
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory, path.open("wb") as core:
            runs = list(_runs(pid))
            offset = _ELF_HEADER.size + _PROGRAM_HEADER.size * len(runs)
            core.write(_ELF_HEADER.pack(*_ELF_CORE, _ELF_HEADER.size, 0, 0, 64, 56, len(runs), 0, 0, 0))
            for run in runs:
                size = run.end - run.start
                core.write(_PROGRAM_HEADER.pack(_LOADED, _READABLE, offset, run.start, 0, size, size, PAGE_BYTES))
                offset += size
            for run in runs:
                for start in range(run.start, run.end, CHUNK_BYTES):
                    core.write(os.pread(memory.fileno(), min(CHUNK_BYTES, run.end - start), start))
    finally:
        os.kill(pid, signal.SIGCONT)


def loaded_bytes(core: Path) -> int:
    """How many bytes of memory an ELF core file says that it holds."""
    with core.open("rb") as file:
        header = _ELF_HEADER.unpack(file.read(_ELF_HEADER.size))
        count = header[-4]
        return sum(_PROGRAM_HEADER.unpack(file.read(_PROGRAM_HEADER.size))[5] for _ in range(count))


def _count(patterns: Mapping[str, Sequence[bytes]], chunks: Callable[[int], Iterator[bytes]]) -> dict[str, int]:
    forms = [form for form, pieces in patterns.items() for _ in pieces]
    search = PieceSearch([piece for pieces in patterns.values() for piece in pieces])
    found: set[int] = set()
    for chunk in chunks(search.longest - 1):
        found |= search.found_in(chunk)
    hits = Counter(forms[number] for number in found)
    return {form: hits[form] for form in patterns}


def _chunks_of_file(path: Path, overlap_bytes: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        for start in range(0, os.fstat(file.fileno()).st_size, CHUNK_BYTES):
            yield os.pread(file.fileno(), CHUNK_BYTES + overlap_bytes, start)


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
