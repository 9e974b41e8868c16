"""Decryption of comparison scores: c0 + c1 s + c2 s^2 at the coefficients that are scores."""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.kernels import pointwise
from veilface.crypto.public.packed.profiles import PackedProfile, packed_profile
from veilface.crypto.public.packed.ring import U32, prime_ring, reduction_constants
from veilface.crypto.public.packed.scores import ScoreFormat, read_scores, search_format, verify_format
from veilface.crypto.public.packed.space import coordinate_count, score_center, score_unit
from veilface.crypto.public.packed.transform import from_ntt, to_ntt
from veilface.crypto.secret.packed.keyset import read_secret


def signed_values(residues: U32, primes: tuple[int, ...], center: int = 0) -> NDArray[np.float64]:
    """The numbers nearest to `center` with these residues (limbs, count), as float64 (Garner's algorithm)."""
    digits: list[NDArray[np.int64]] = []
    for limb, q in enumerate(primes):
        value = (residues[limb].astype(np.int64) - center % q) % q
        for lower in range(limb):
            value = (value - digits[lower]) % q * pow(primes[lower], -1, q) % q
        digits.append(value)
    top = primes[-1]
    digits[-1] = np.where(digits[-1] > top // 2, digits[-1] - top, digits[-1])
    total = digits[-1].astype(np.float64)
    for limb in range(len(primes) - 2, -1, -1):
        total = total * primes[limb] + digits[limb]
    return total + center


class PackedDecrypter:
    """Decrypts comparison scores with one secret key. Call `wipe` when it is not needed any more."""

    def __init__(self, profile_name: str, secret_key: bytes | bytearray | memoryview) -> None:
        self.profile: PackedProfile = packed_profile(profile_name)
        secret = read_secret(self.profile, secret_key)
        self._secret: U32 = np.empty((self.profile.template_limbs, self.profile.degree), dtype=np.uint32)
        for limb, prime in enumerate(self.profile.data_primes):
            self._secret[limb] = np.mod(secret.astype(np.int64), prime)
            to_ntt(self._secret[limb], prime_ring(prime, self.profile.degree))
        secret.fill(0)

    def __repr__(self) -> str:
        return f"<PackedDecrypter {self.profile.name}>"

    def wipe(self) -> None:
        """Overwrite the secret key; the decrypter is useless afterwards."""
        self._secret.fill(0)

    def decrypt(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.float64]:
        """See `ScoreDecrypter.decrypt`. With an integer profile the scores are exact: they are rounded to integers."""
        profile = self.profile
        coordinates = coordinate_count(space, profile)
        form = self._format(ciphertext)
        scores, others, positions = read_scores(ciphertext, coordinates, score_count, form, profile)
        constants = reduction_constants(profile.data_primes)
        for limb in range(form.limbs):
            ring = prime_ring(profile.data_primes[limb], profile.degree)
            for polynomial in range(2):
                to_ntt(others[polynomial, limb], ring)
            product = np.empty(profile.degree, dtype=np.uint32)
            pointwise.horner(others[0, limb], others[1, limb], self._secret[limb], tuple(constants[limb]), product)
            from_ntt(product, ring)
            total = scores[limb].astype(np.int64) + product[positions]
            scores[limb] = (total % ring.prime).astype(np.uint32)
        center = round(score_center(space, profile) * form.scale)
        inner = signed_values(scores, profile.data_primes[: form.limbs], center) / form.scale
        if profile.integer_norm is not None:
            inner = np.rint(inner * profile.integer_norm**2)
        return inner * score_unit(space, profile)

    def _format(self, ciphertext: bytes) -> ScoreFormat:
        if len(ciphertext) >= wire.HEADER_BYTES:
            for form in (search_format(self.profile), verify_format(self.profile)):
                if ciphertext[4] == form.kind:
                    return form
        raise InvalidCiphertextError(Reason.WRONG_USE, "expected a score ciphertext of a ckks-packed key")
