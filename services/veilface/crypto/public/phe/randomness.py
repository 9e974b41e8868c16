"""Fresh encryptions of zero: random powers of a fixed base, in lanes.

The exponent is a string of six-bit digits, each drawn uniformly from the operating system's randomness; the base's
powers of every digit at every position are tabulated once.
"""

import secrets
import threading
from typing import Final

import numpy as np
from gmpy2 import mpz

from veilface.crypto.public.phe.lanes import U64, LaneModulus, Steps, addresses
from veilface.crypto.public.phe.montgomery import LANES
from veilface.crypto.public.phe.public_key import PhePublicKey

_WINDOW: Final = 6
_DIGITS: Final = 1 << _WINDOW


class ZeroSource:
    """Makes encryptions of zero under one public key. Safe for concurrent use; the table is made on first use."""

    def __init__(self, key: PhePublicKey, lanes: LaneModulus) -> None:
        self._key = key
        self._lanes = lanes
        self._positions = -(-key.randomizer_bits // _WINDOW)
        self._lock = threading.Lock()
        self._table: U64 | None = None
        self._spare: list[mpz] = []

    def take(self, count: int) -> list[mpz]:
        """`count` encryptions of zero, each used once. They are made eight at a time; the rest is kept."""
        with self._lock:
            missing = count - len(self._spare)
            if missing > 0:
                self._spare.extend(self._make(-(-missing // LANES)))
            taken, self._spare = self._spare[:count], self._spare[count:]
        return taken

    def _make(self, groups: int) -> list[mpz]:
        if self._table is None:
            self._table = self._tabulate()
        where = addresses(self._table).reshape(self._positions, _DIGITS)
        programs = [self._program(where) for _ in range(groups)]
        results = self._lanes.run(programs, folded=False)
        return self._lanes.integers(results.reshape(-1, self._lanes.limbs))

    def _program(self, where: Steps) -> Steps:
        random = np.frombuffer(secrets.token_bytes(self._positions * LANES), dtype=np.uint8)
        digits = (random % _DIGITS).reshape(self._positions, LANES)
        return np.ascontiguousarray(np.take_along_axis(where, digits.astype(np.intp), axis=1))

    def _tabulate(self) -> U64:
        """Row 64 i + k is base^(k 64^i)."""
        modulus = self._key.modulus
        powers: list[mpz] = []
        base = self._key.randomizer
        for _ in range(self._positions):
            power = mpz(1)
            for _ in range(_DIGITS):
                powers.append(power)
                power = power * base % modulus
            base = power
        return self._lanes.rows(powers)
