"""Finds any of many byte strings in a large one in a single pass: Karp and Rabin's rolling hash, each hit compared."""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

HASHED_BYTES = 64
_BASE = np.uint64(0x9E3779B97F4A7C15)
_TABLE_BITS = 20
_SHIFT = np.uint64(64 - _TABLE_BITS)
_MOST_CANDIDATES = 1 << 16


class PieceSearch:
    """Looks for pieces of 64 bytes or more; only their first 64 are hashed."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        assert min(map(len, pieces)) >= HASHED_BYTES
        self._pieces = pieces
        self.longest = max(map(len, pieces))
        heads = np.array([np.frombuffer(piece[:HASHED_BYTES], dtype=np.uint8) for piece in pieces])
        hashes = np.zeros(len(pieces), dtype=np.uint64)
        for column in heads.T:
            hashes = hashes * _BASE + column.astype(np.uint64)
        self._table = np.zeros(1 << _TABLE_BITS, dtype=np.uint8)
        self._table[_slots(hashes)] = 1
        self._by_hash: dict[int, list[int]] = {}
        for number, value in enumerate(hashes.tolist()):
            self._by_hash.setdefault(value, []).append(number)

    def found_in(self, content: bytes) -> set[int]:
        """The numbers of the pieces that are in it."""
        values = np.frombuffer(content, dtype=np.uint8)
        found: set[int] = set()
        start = 0
        while len(content) - start >= HASHED_BYTES:
            ends, hashes, start = _candidates(values, start, self._table)
            for end, value in zip(ends.tolist(), hashes.tolist(), strict=True):
                for number in self._by_hash.get(value, ()):
                    if content.startswith(self._pieces[number], end - HASHED_BYTES):
                        found.add(number)
        return found


def _slots(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
    return (hashes >> _SHIFT).astype(np.intp)


@numba.njit
def _candidates(content, start, table):  # type: ignore[no-untyped-def]
    """Where windows end whose hash may be wanted, their hashes, and where to go on."""
    leaving = np.uint64(1)
    for _ in range(HASHED_BYTES):
        leaving *= _BASE
    ends = np.empty(_MOST_CANDIDATES, dtype=np.int64)
    hashes = np.empty(_MOST_CANDIDATES, dtype=np.uint64)
    count = 0
    value = np.uint64(0)
    for position in range(start, content.size):
        value = value * _BASE + np.uint64(content[position])
        if position - start >= HASHED_BYTES:
            value -= leaving * np.uint64(content[position - HASHED_BYTES])
        if position - start >= HASHED_BYTES - 1 and table[value >> _SHIFT]:
            ends[count], hashes[count] = position + 1, value
            count += 1
            if count == _MOST_CANDIDATES:
                return ends, hashes, position + 2 - HASHED_BYTES
    return ends[:count], hashes[:count], content.size
