"""The secret key in the form that decryption uses, and decryption of whole ciphertexts."""

import numpy as np
from numpy.typing import NDArray

from veilface.crypto.public.packed.kernels import pointwise
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32, prime_ring, reduction_constants
from veilface.crypto.public.packed.transform import from_ntt, to_ntt
from veilface.crypto.secret.packed.keyset import read_secret


def signed_values(residues: U32, primes: tuple[int, ...]) -> NDArray[np.float64]:
    """The numbers nearest to zero with these residues (limbs, count), as float64 (Garner's algorithm)."""
    digits: list[NDArray[np.int64]] = []
    for limb, q in enumerate(primes):
        value = residues[limb].astype(np.int64)
        for lower in range(limb):
            value = (value - digits[lower]) % q * pow(primes[lower], -1, q) % q
        digits.append(value)
    top = primes[-1]
    digits[-1] = np.where(digits[-1] > top // 2, digits[-1] - top, digits[-1])
    total = digits[-1].astype(np.float64)
    for limb in range(len(primes) - 2, -1, -1):
        total = total * primes[limb] + digits[limb]
    return total


class RingSecret:
    """The secret key in the NTT domain at every data prime."""

    def __init__(self, profile: PackedProfile, secret_key: bytes | bytearray | memoryview) -> None:
        self.profile = profile
        secret = read_secret(profile, secret_key)
        self._constants = reduction_constants(profile.data_primes)
        self._values: U32 = np.empty((profile.template_limbs, profile.degree), dtype=np.uint32)
        for limb, prime in enumerate(profile.data_primes):
            self._values[limb] = np.mod(secret.astype(np.int64), prime)
            to_ntt(self._values[limb], prime_ring(prime, profile.degree))
        secret.fill(0)

    def __repr__(self) -> str:
        return f"<RingSecret {self.profile.name}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret key is not serialized")

    def wipe(self) -> None:
        """Overwrite the secret key."""
        self._values.fill(0)

    def multiply(self, first: U32, second: U32, limb: int) -> U32:
        """The coefficients of first * s + second * s^2 at one limb; all (n,), the arguments in the NTT domain."""
        ring = prime_ring(self.profile.data_primes[limb], self.profile.degree)
        product = np.empty(self.profile.degree, dtype=np.uint32)
        pointwise.horner(first, second, self._values[limb], tuple(self._constants[limb]), product)
        return from_ntt(product, ring)

    def decrypt(self, ciphertext: U32) -> NDArray[np.float64]:
        """The message coefficients (n,) of a ciphertext (2, limbs, n) in the NTT domain, still scaled."""
        profile = self.profile
        limbs = ciphertext.shape[1]
        nothing = np.zeros(profile.degree, dtype=np.uint32)
        residues = np.empty((limbs, profile.degree), dtype=np.uint32)
        for limb in range(limbs):
            prime = profile.data_primes[limb]
            constant = from_ntt(ciphertext[0, limb].copy(), prime_ring(prime, profile.degree))
            total = constant.astype(np.int64) + self.multiply(ciphertext[1, limb], nothing, limb)
            residues[limb] = (total % prime).astype(np.uint32)
        return signed_values(residues, profile.data_primes[:limbs])
