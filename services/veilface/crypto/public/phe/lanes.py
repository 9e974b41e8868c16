"""Products of many integers modulo one modulus, eight at a time: Python's side of the Montgomery kernel.

An integer in "row form" is a row of limbs in Montgomery form (x R mod N, below 2 N); its address is a step of a
program.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilface.crypto.public.packed.parallel import run_parts
from veilface.crypto.public.phe.montgomery import IFMA_RADIX, LANES, RADIX, UNROLLED_ROWS, run_program

U64 = NDArray[np.uint64]
Steps = NDArray[np.int64]
_PAIR_BYTES: Final = 13
_MASK: Final = np.uint64((1 << IFMA_RADIX) - 1)
_HALF: Final = IFMA_RADIX // 2


class LaneModulus:
    """Arithmetic modulo an odd N, in lanes.

    Args:
        modulus: N.
        radix: Bits per limb, 52 or 26; what suits the CPU if not given.
    """

    def __init__(self, modulus: mpz, radix: int = RADIX) -> None:
        self.modulus = modulus
        self.radix = radix
        # Two spare bits keep sums below R / 4; whole groups of four limbs of 52 bits suit both radixes.
        wide = -(-(modulus.bit_length() + 2) // IFMA_RADIX)
        wide += -wide % UNROLLED_ROWS
        self._bytes = wide * IFMA_RADIX // 8
        self.limbs = wide * IFMA_RADIX // radix
        self._r = mpz(1) << (IFMA_RADIX * wide)
        self._r_inverse = gmpy2.invert(self._r, modulus)
        self._modulus_lanes = self._broadcast(modulus)
        inverse = int(-gmpy2.invert(modulus, mpz(1) << radix) % (1 << radix))
        self._inverse: U64 = np.full(LANES, inverse, dtype=np.uint64)
        self._one_lanes = self._broadcast(self._r % modulus)

    def rows(self, integers: Iterable[mpz]) -> U64:
        """Integers in row form, shape (count, limbs)."""
        shift = self._r.bit_length() - 1
        data = b"".join(int((x << shift) % self.modulus).to_bytes(self._bytes, "little") for x in integers)
        return self._limbs_from_bytes(data)

    def integers(self, rows: U64) -> list[mpz]:
        """Back from row form, shape (count, limbs), to integers in [0, N)."""
        data = self._bytes_from_limbs(rows)
        return [
            mpz(int.from_bytes(data[at : at + self._bytes], "little")) * self._r_inverse % self.modulus
            for at in range(0, len(data), self._bytes)
        ]

    def run(self, programs: Sequence[Steps], *, folded: bool) -> U64:
        """Run programs on the worker threads; each gives eight integers in row form, shape (programs, 8, limbs).

        Args:
            programs: int64 (steps, 8) each, see `run_program`. Whoever made them keeps the addressed rows alive.
            folded: Whether the result is the folded total, or the running product.
        """
        results: U64 = np.empty((len(programs), LANES, self.limbs), dtype=np.uint64)

        def part(index: int) -> None:
            running, total = self._one_lanes.copy(), self._one_lanes.copy()
            scratch = np.empty((2, *running.shape), dtype=np.uint64)
            run_program(self.radix, programs[index], self._modulus_lanes, self._inverse, running, total, scratch)
            result = total if folded else running
            results[index] = result[: self.limbs].T

        run_parts([partial(part, index) for index in range(len(programs))])
        return results

    def _broadcast(self, value: mpz) -> U64:
        lanes: U64 = np.zeros((self.limbs + UNROLLED_ROWS, LANES), dtype=np.uint64)
        lanes[: self.limbs] = self._limbs_from_bytes(int(value).to_bytes(self._bytes, "little")).T
        return lanes

    def _limbs_from_bytes(self, data: bytes) -> U64:
        count = len(data) // self._bytes
        pairs = np.zeros((count, self._bytes // _PAIR_BYTES, 16), dtype=np.uint8)
        pairs[:, :, :_PAIR_BYTES] = np.frombuffer(data, dtype=np.uint8).reshape(count, -1, _PAIR_BYTES)
        first = np.ascontiguousarray(pairs[:, :, :8]).view("<u8") & _MASK
        second = np.ascontiguousarray(pairs[:, :, 6:14]).view("<u8") >> np.uint64(4)
        wide = np.concatenate([first, second], axis=2).reshape(count, -1)
        if self.radix == IFMA_RADIX:
            return wide
        halves = np.stack([wide & np.uint64((1 << _HALF) - 1), wide >> np.uint64(_HALF)], axis=2)
        return np.ascontiguousarray(halves.reshape(count, -1))

    def _bytes_from_limbs(self, rows: U64) -> bytes:
        wide = rows if self.radix == IFMA_RADIX else rows[:, 0::2] | rows[:, 1::2] << np.uint64(_HALF)
        first, second = wide[:, 0::2], wide[:, 1::2]
        pairs = np.zeros((*first.shape, 16), dtype=np.uint8)
        pairs[:, :, :8] = np.ascontiguousarray(first | second << np.uint64(52))[:, :, None].view(np.uint8)
        pairs[:, :, 8:] = np.ascontiguousarray(second >> np.uint64(12))[:, :, None].view(np.uint8)
        return np.ascontiguousarray(pairs[:, :, :_PAIR_BYTES]).tobytes()


def addresses(rows: U64) -> Steps:
    """Where each row of (count, limbs) lies in memory, int64 (count,)."""
    if not rows.flags.c_contiguous:
        raise ValueError("rows must be contiguous")
    offsets = np.arange(rows.shape[0], dtype=np.int64) * (rows.shape[1] * 8)
    where: Steps = offsets + rows.ctypes.data
    return where


def steps_by_lane(rows: NDArray[np.int64], lane_addresses: Steps) -> Steps:
    """A program for eight lanes that use the same rows of different tables.

    Args:
        rows: int64 (steps,), row numbers, FOLD or SQUARE.
        lane_addresses: int64 (8, table length), the addresses of the rows of every lane's table.
    """
    chosen = lane_addresses[:, np.maximum(rows, 0)].T
    return np.ascontiguousarray(np.where(rows[:, None] < 0, rows[:, None], chosen))
