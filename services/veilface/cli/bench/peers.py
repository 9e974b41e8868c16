"""The systems that are measured beside this one, re-created from what they published."""

from typing import Any

import numpy as np
import tenseal
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from veilface.crypto.public.packed import seal
from veilface.crypto.public.packed.profiles import packed_profile

# CipherFace 0.0.2 at 128 bits: TenSEAL CKKS, ring degree 8192, these coefficient moduli and this scale.
_CIPHERFACE_DEGREE = 8192
_CIPHERFACE_MODULI = [60, 40, 40, 60]
_CIPHERFACE_LOG_SCALE = 40


class CipherFace:
    """The comparison of CipherFace (arXiv 2502.18514): the dot product of two encrypted TenSEAL vectors."""

    name = "CipherFace"

    def __init__(self) -> None:
        self._context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS, _CIPHERFACE_DEGREE, coeff_mod_bit_sizes=_CIPHERFACE_MODULI
        )
        self._context.generate_galois_keys()
        self._context.global_scale = 2**_CIPHERFACE_LOG_SCALE

    def encrypt(self, vector: NDArray[np.float64]) -> Any:
        """An encrypted embedding."""
        return tenseal.ckks_vector(self._context, vector.tolist())

    def compare(self, one: Any, other: Any) -> Any:
        """The encrypted cosine similarity of two normalised embeddings."""
        return one.dot(other)

    def decrypt(self, score: Any) -> float:
        """The score."""
        return float(score.decrypt()[0])

    def template_bytes(self, encrypted: Any) -> int:
        """The size of a serialized template."""
        return len(encrypted.serialize())

    def public_context_bytes(self) -> int:
        """The size of what a matcher must hold."""
        return len(self._context.serialize(save_secret_key=False, save_galois_keys=True, save_relin_keys=True))


class SealExpansion:
    """The same expansion as a loop over SEAL's Evaluator, called from Python."""

    name = "loop of SEAL apply_galois"

    def __init__(self, profile_name: str) -> None:
        self._profile = packed_profile(profile_name)
        self._context = seal.seal_context(self._profile)
        generator = sealapi.KeyGenerator(self._context.context)
        public_key = sealapi.PublicKey()
        generator.create_public_key(public_key)
        self._elements = [(self._profile.degree >> level) + 1 for level in range(self._profile.degree.bit_length() - 1)]
        self._galois_keys = sealapi.GaloisKeys()
        generator.create_galois_keys(self._elements, self._galois_keys)
        self._evaluator = sealapi.Evaluator(self._context.context)
        self._encoder = sealapi.CKKSEncoder(self._context.context)
        self._ciphertext = sealapi.Ciphertext()
        sealapi.Encryptor(self._context.context, public_key).encrypt_zero(self._ciphertext)

    def expand(self, levels: int) -> list[Any]:
        """2^levels ciphertexts by automorphism, sum and difference. The multiplications by monomials are left out."""
        state = [self._ciphertext]
        for level in range(levels):
            evens, odds = [], []
            for ciphertext in state:
                rotated, even, odd = sealapi.Ciphertext(), sealapi.Ciphertext(), sealapi.Ciphertext()
                self._evaluator.apply_galois(ciphertext, self._elements[level], self._galois_keys, rotated)
                self._evaluator.add(ciphertext, rotated, even)
                self._evaluator.sub(ciphertext, rotated, odd)
                evens.append(even)
                odds.append(odd)
            state = evens + odds
        return state
