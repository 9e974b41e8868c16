"""Decryption of comparison scores: c0 + c1 s + c2 s^2 at the coefficients that are scores."""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.profiles import PackedProfile, packed_profile
from veilface.crypto.public.packed.ring import prime_ring
from veilface.crypto.public.packed.scores import (
    ScoreFormat,
    read_scores,
    search_format,
    verify_format,
    weighed_format,
    weighed_verify_format,
)
from veilface.crypto.public.packed.space import coordinate_count, scores_of
from veilface.crypto.public.packed.transform import to_ntt
from veilface.crypto.secret.packed.ring_secret import RingSecret, signed_values


class PackedDecrypter:
    """Decrypts comparison scores with one secret key. Call `wipe` when it is not needed any more."""

    def __init__(self, profile_name: str, secret_key: bytes | bytearray | memoryview) -> None:
        self.profile: PackedProfile = packed_profile(profile_name)
        self._secret = RingSecret(self.profile, secret_key)

    def __repr__(self) -> str:
        return f"<PackedDecrypter {self.profile.name}>"

    def wipe(self) -> None:
        """Overwrite the secret key; the decrypter is useless afterwards."""
        self._secret.wipe()

    def decrypt(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.float64]:
        """See `ScoreDecrypter.decrypt`. With an integer profile the scores are exact: they are rounded to integers."""
        return scores_of(self.inner_products(ciphertext, space, score_count), space, self.profile)

    def inner_products(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.float64]:
        """What `scores_of` takes, shape (score_count,): with all the noise of the ciphertext, also of exact profiles.

        Raises:
            InvalidCiphertextError: As `decrypt`.
        """
        profile = self.profile
        form = self._format(ciphertext)
        coordinates = coordinate_count(space, profile)
        scores, others, positions = read_scores(ciphertext, coordinates, score_count, form, profile)
        for limb in range(form.limbs):
            ring = prime_ring(profile.data_primes[limb], profile.degree)
            for polynomial in range(form.polynomials - 1):
                to_ntt(others[polynomial, limb], ring)
            second = others[1, limb] if form.polynomials == 3 else np.zeros_like(others[0, limb])
            product = self._secret.multiply(others[0, limb], second, limb)
            total = scores[limb].astype(np.int64) + product[positions]
            scores[limb] = (total % ring.prime).astype(np.uint32)
        return signed_values(scores, profile.data_primes[: form.limbs]) / form.scale

    def _format(self, ciphertext: bytes) -> ScoreFormat:
        for form_of in (search_format, verify_format, weighed_format, weighed_verify_format):
            form = form_of(self.profile)
            if wire.is_of_kind(ciphertext, form.kind):
                return form
        raise InvalidCiphertextError(Reason.WRONG_USE, "expected a score ciphertext of a ckks-packed key")
