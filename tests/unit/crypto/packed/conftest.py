"""Keys of every profile, made once, with SEAL's own objects as the oracle."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.crypto.public.packed import seal, wire
from veilface.crypto.public.packed.comparer import PackedComparer
from veilface.crypto.public.packed.encrypt import PackedEncryptor
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys, galois_elements
from veilface.crypto.public.packed.expand import expanded_count, upscale_factor
from veilface.crypto.public.packed.profiles import PackedProfile, packed_profile
from veilface.crypto.public.packed.ring import U32, prime_ring
from veilface.crypto.secret.packed.decrypt import PackedDecrypter
from veilface.crypto.secret.packed.keyset import generate_key, secret_header, ternary_coefficients
from veilface.crypto.secret.packed.ring_secret import RingSecret


@dataclass(frozen=True)
class Keyring:
    """One key with everything that works with it."""

    profile: PackedProfile
    material: PublicMaterial
    secret_key: bytes
    encryptor: PackedEncryptor
    comparer: PackedComparer
    decrypter: PackedDecrypter
    evaluation_keys: EvaluationKeys


@lru_cache(maxsize=8)
def make_keyring(name: str) -> Keyring:
    """A fresh key of a profile."""
    key = generate_key(name)
    material = PublicMaterial(Scheme.CKKS_PACKED, name, "keys/test/versions/1", key.public_key, key.evaluation_keys)
    profile = packed_profile(name)
    return Keyring(
        profile,
        material,
        key.secret_key,
        PackedEncryptor(material),
        PackedComparer(material),
        PackedDecrypter(name, key.secret_key),
        EvaluationKeys.from_bytes(profile, key.evaluation_keys),
    )


@pytest.fixture(scope="session")
def keyring() -> Callable[[str], Keyring]:
    return make_keyring


@dataclass(frozen=True)
class Oracle:
    """SEAL with a key of its own, for comparisons bit by bit."""

    profile: PackedProfile
    context: seal.SealContext
    evaluator: Any
    encoder: Any
    encryptor: Any
    decryptor: Any
    galois_keys: Any
    elements: list[int]
    evaluation_keys: EvaluationKeys
    secret: RingSecret

    def random_residues(self, polynomials: int, limbs: int, rng: np.random.Generator) -> U32:
        """Uniformly random residues (polynomials, limbs, n)."""
        primes = self.profile.data_primes[:limbs]
        rows = [rng.integers(0, q, (polynomials, self.profile.degree), dtype=np.uint32) for q in primes]
        return np.stack(rows, axis=1)

    def ciphertext(self, residues: U32, scale: float = 1.0) -> Any:
        """SEAL's ciphertext of residues (polynomials, limbs, n)."""
        return seal.ciphertext_from_residues(self.context, residues, scale)

    def split(self, residues: U32, level: int) -> tuple[U32, U32]:
        """One level of the expansion by SEAL: sum and shifted difference of a ciphertext (2, limbs, n)."""
        original = self.ciphertext(residues)
        rotated, even, difference = sealapi.Ciphertext(), sealapi.Ciphertext(), sealapi.Ciphertext()
        self.evaluator.apply_galois(original, self.elements[level], self.galois_keys, rotated)
        self.evaluator.add(original, rotated, even)
        self.evaluator.sub(original, rotated, difference)
        return seal.ciphertext_residues(even), self.shift(seal.ciphertext_residues(difference), -(1 << level))

    def shift(self, residues: U32, exponent: int) -> U32:
        """Residues (polynomials, limbs, n) in the NTT domain times X^exponent."""
        primes = self.profile.data_primes[: residues.shape[1]]
        monomial = np.array([prime_ring(q, self.profile.degree).monomial(exponent) for q in primes], dtype=np.uint64)
        return (residues * monomial % np.array(primes, dtype=np.uint64)[:, None]).astype(np.uint32)

    def expand(self, residues: U32, coordinates: int, log_scale: int) -> U32:
        """The whole expansion by SEAL, ciphertext by ciphertext: (coordinates, 2, segment_limbs, n)."""
        factor = upscale_factor(self.profile, coordinates, log_scale)
        primes = np.array(self.profile.data_primes, dtype=np.uint64)[:, None]
        present = [(residues * (np.uint64(factor) % primes) % primes).astype(np.uint32)]
        for level in range(expanded_count(coordinates).bit_length() - 1):
            halves = [self.split(each, level) for each in present]
            present = [even for even, _ in halves] + [odd for _, odd in halves]
        leaves = []
        for each in present[:coordinates]:
            leaf = self.ciphertext(each, 2.0**60)
            self.evaluator.rescale_to_next_inplace(leaf)
            leaves.append(seal.ciphertext_residues(leaf))
        return np.stack(leaves)


@lru_cache(maxsize=4)
def make_oracle(name: str) -> Oracle:
    """SEAL objects for a profile."""
    profile = packed_profile(name)
    context = seal.seal_context(profile)
    generator = sealapi.KeyGenerator(context.context)
    public_key, galois_keys = sealapi.PublicKey(), sealapi.GaloisKeys()
    generator.create_public_key(public_key)
    elements = galois_elements(profile)
    generator.create_galois_keys(elements, galois_keys)
    by_digit = seal.galois_key_residues(galois_keys, elements, profile)
    shifted = ternary_coefficients(generator.secret_key(), profile)
    return Oracle(
        profile,
        context,
        sealapi.Evaluator(context.context),
        sealapi.CKKSEncoder(context.context),
        sealapi.Encryptor(context.context, public_key),
        sealapi.Decryptor(context.context, generator.secret_key()),
        galois_keys,
        elements,
        EvaluationKeys(profile, np.ascontiguousarray(by_digit.transpose(0, 2, 3, 1, 4))),
        RingSecret(profile, wire.write(profile, secret_header(profile), shifted.tobytes())),
    )


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], Oracle]:
    return make_oracle


def unit_vectors(count: int, dimension: int, seed: int) -> NDArray[np.float64]:
    """Random L2-normalised embeddings, shape (count, dimension)."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]
