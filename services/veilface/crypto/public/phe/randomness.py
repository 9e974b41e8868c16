"""Fresh encryptions of zero: powers of a fixed base by exponents from the operating system's randomness."""

import secrets
import threading

from gmpy2 import mpz

from veilface.crypto.public.phe.fixed_base import FixedBase
from veilface.crypto.public.phe.lanes import LaneModulus
from veilface.crypto.public.phe.montgomery import LANES
from veilface.crypto.public.phe.public_key import PhePublicKey


class ZeroSource:
    """Makes encryptions of zero under one public key. Safe for concurrent use.

    Args:
        key: The public key.
        lanes: Arithmetic modulo its ciphertext modulus.
        exponent_bits: How long the random exponents are, which decides from whom the zeros hide what they are added to:
            `PhePublicKey.encryption_exponent_bits` or `response_exponent_bits`.
    """

    def __init__(self, key: PhePublicKey, lanes: LaneModulus, exponent_bits: int) -> None:
        self._randomizer = FixedBase(key.randomizer, lanes)
        self._exponent_bits = exponent_bits
        self._lock = threading.Lock()
        self._spare: list[mpz] = []

    def take(self, count: int) -> list[mpz]:
        """`count` encryptions of zero, each used once. They are made eight at a time; the rest is kept."""
        with self._lock:
            missing = count - len(self._spare)
            if missing > 0:
                exponents = [secrets.randbits(self._exponent_bits) for _ in range(missing + -missing % LANES)]
                self._spare.extend(self._randomizer.powers(exponents))
            taken, self._spare = self._spare[:count], self._spare[count:]
        return taken
