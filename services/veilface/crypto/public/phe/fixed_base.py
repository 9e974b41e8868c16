"""Powers of one fixed base: a table of its powers by every digit at every position, multiplied in lanes."""

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilface.crypto.public.phe.lanes import U64, LaneModulus, addresses
from veilface.crypto.public.phe.montgomery import LANES

_WINDOW: Final = 6
_DIGITS: Final = 1 << _WINDOW


class FixedBase:
    """Powers of one base modulo the lanes' modulus. Safe for concurrent use; the table grows as exponents ask for it.

    Args:
        base: What is raised to powers.
        lanes: The arithmetic.
    """

    def __init__(self, base: mpz, lanes: LaneModulus) -> None:
        self._lanes = lanes
        self._lock = threading.Lock()
        self._next_base = base
        self._table: U64 = np.empty((0, lanes.limbs), dtype=np.uint64)

    def powers(self, exponents: Sequence[int]) -> list[mpz]:
        """base^exponent of each exponent, none of them negative; made eight at a time."""
        longest = max((exponent.bit_length() for exponent in exponents), default=0)
        positions = max(1, -(-longest // _WINDOW))
        digits = _digits([*exponents, *[0] * (-len(exponents) % LANES)], positions)
        table = self._table_of(positions)
        where = addresses(table[: positions * _DIGITS]).reshape(positions, _DIGITS)
        programs = [
            np.ascontiguousarray(np.take_along_axis(where, digits[first : first + LANES].T, axis=1))
            for first in range(0, len(digits), LANES)
        ]
        results = self._lanes.run(programs, folded=False)
        return self._lanes.integers(results.reshape(-1, self._lanes.limbs)[: len(exponents)])

    def _table_of(self, positions: int) -> U64:
        """Row 64 i + k is base^(k 64^i), for at least this many positions i."""
        with self._lock:
            missing = positions - len(self._table) // _DIGITS
            if missing > 0:
                self._table = np.concatenate([self._table, self._lanes.rows(self._following(missing))])
            return self._table

    def _following(self, positions: int) -> list[mpz]:
        modulus = self._lanes.modulus
        powers: list[mpz] = []
        for _ in range(positions):
            power = mpz(1)
            for _ in range(_DIGITS):
                powers.append(power)
                power = power * self._next_base % modulus
            self._next_base = power
        return powers


def _digits(exponents: Sequence[int], positions: int) -> NDArray[np.intp]:
    """The digits in base 64, lowest first, shape (exponents, positions)."""
    width = -(-positions * _WINDOW // 8)
    data = np.frombuffer(b"".join(exponent.to_bytes(width, "little") for exponent in exponents), dtype=np.uint8)
    bits = np.unpackbits(data.reshape(-1, width), axis=1, count=positions * _WINDOW, bitorder="little")
    return bits.reshape(-1, positions, _WINDOW) @ (1 << np.arange(_WINDOW, dtype=np.intp))
