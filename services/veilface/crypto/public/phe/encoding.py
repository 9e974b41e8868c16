"""Many integers as ciphertexts that are not randomised yet."""

from collections.abc import Sequence

import gmpy2
from gmpy2 import mpz

from veilface.crypto.contract import Scheme
from veilface.crypto.public.phe.fixed_base import FixedBase
from veilface.crypto.public.phe.lanes import LaneModulus
from veilface.crypto.public.phe.public_key import PhePublicKey


class Encoder:
    """`PhePublicKey.encode` of many integers at once. Safe for concurrent use.

    The generator 1 + n has powers in closed form; those of Okamoto-Uchiyama's come from a table.
    """

    def __init__(self, key: PhePublicKey, lanes: LaneModulus) -> None:
        self._key = key
        self._generator = FixedBase(key.generator, lanes) if key.profile.scheme is Scheme.OKAMOTO_UCHIYAMA else None

    def encode(self, integers: Sequence[int]) -> list[mpz]:
        """The ciphertexts of integers of either sign: anyone can read them."""
        if self._generator is None:
            return [self._key.encode(integer) for integer in integers]
        powers = self._generator.powers([abs(integer) for integer in integers])
        return [
            power if integer >= 0 else gmpy2.invert(power, self._key.modulus)
            for integer, power in zip(integers, powers, strict=True)
        ]
