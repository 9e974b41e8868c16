"""The systems that are measured beside this one, re-created from what they published."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import tenseal
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from veilface.cli.bench.measurement import Peer
from veilface.cli.bench.timing import seconds
from veilface.crypto.public.ckks_tenseal.profiles import DEFAULT_PROFILE, tenseal_profile
from veilface.crypto.public.packed import seal
from veilface.crypto.public.packed.parallel import worker_count
from veilface.crypto.public.packed.profiles import packed_profile


def numpy_peer(operation: str, value: float) -> Peer:
    """Numpy in the clear, whose BLAS has as many threads as the kernels: see `blas.share_threads`."""
    return Peer(f"numpy float32 {operation}", value, worker_count())


class CipherFace:
    """The comparison of CipherFace (arXiv 2502.18514): the dot product of two encrypted TenSEAL vectors.

    It runs as published, with TenSEAL's own calls, on its set for 128 bits. All of it is on one thread.
    """

    def __init__(self) -> None:
        profile = tenseal_profile(DEFAULT_PROFILE)
        self._context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS, profile.degree, coeff_mod_bit_sizes=list(profile.modulus_bits)
        )
        self._context.generate_galois_keys()
        self._context.global_scale = 2**profile.log_scale

    def encrypt(self, vector: NDArray[np.float64]) -> Any:
        """An encrypted embedding."""
        return tenseal.ckks_vector(self._context, vector.tolist())

    def compare(self, one: Any, other: Any) -> Any:
        """The encrypted cosine similarity of two normalised embeddings."""
        return one.dot(other)

    def decrypt(self, score: Any) -> float:
        """The score."""
        return float(score.decrypt()[0])

    def public_context_bytes(self) -> int:
        """The size of what a matcher must hold."""
        return len(self._context.serialize(save_secret_key=False, save_galois_keys=True, save_relin_keys=True))


@dataclass(frozen=True, slots=True)
class CipherFaceCosts:
    """What one template, one comparison and one score of CipherFace cost."""

    encrypt_s: float
    compare_s: float
    decrypt_s: float
    template_bytes: int
    score_bytes: int
    public_context_bytes: int
    error: float

    @classmethod
    def measure(cls, reference: NDArray[np.float64], probe: NDArray[np.float64]) -> Self:
        """Measure with two L2-normalised embeddings."""
        system = CipherFace()
        one, other = system.encrypt(reference), system.encrypt(probe)
        score = system.compare(one, other)
        return cls(
            encrypt_s=seconds(lambda: system.encrypt(reference)),
            compare_s=seconds(lambda: system.compare(one, other)),
            decrypt_s=seconds(lambda: system.decrypt(score)),
            template_bytes=len(one.serialize()),
            score_bytes=len(score.serialize()),
            public_context_bytes=system.public_context_bytes(),
            error=abs(system.decrypt(score) - float(reference @ probe)),
        )

    @staticmethod
    def time(what: str, value: float) -> Peer:
        """A peer of a time, on its one thread; in the unit of the measurement."""
        return Peer(f"CipherFace, {what}", value, 1)

    @staticmethod
    def times_n(what: str, value_s: float, count: int, factor: float) -> Peer:
        """A peer of the time of `count` of something of which one was measured."""
        return Peer(f"CipherFace, {what} x {count:,}", value_s * count * factor, 1, extrapolated=True)

    @staticmethod
    def size(what: str, value: float) -> Peer:
        """A peer of a size or an error."""
        return Peer(f"CipherFace, {what}", value)


class SealExpansion:
    """The same expansion as a loop over SEAL's Evaluator, called from Python, on one thread."""

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
