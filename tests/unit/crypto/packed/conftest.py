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
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.profiles import PackedProfile, packed_profile
from veilface.crypto.secret.packed.decrypt import PackedDecrypter
from veilface.crypto.secret.packed.keyset import generate_key


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

    def random_ciphertext(self, limbs: int, rng: np.random.Generator) -> Any:
        """A SEAL ciphertext of uniformly random residues."""
        residues = np.stack(
            [
                rng.integers(0, prime, (2, self.profile.degree), dtype=np.uint32)
                for prime in self.profile.data_primes[:limbs]
            ],
            axis=1,
        )
        return seal.ciphertext_from_residues(self.context, residues, 1.0)


@lru_cache(maxsize=4)
def make_oracle(name: str) -> Oracle:
    """SEAL objects for a profile."""
    profile = packed_profile(name)
    context = seal.seal_context(profile)
    generator = sealapi.KeyGenerator(context.context)
    public_key, galois_keys = sealapi.PublicKey(), sealapi.GaloisKeys()
    generator.create_public_key(public_key)
    elements = [(profile.degree >> level) + 1 for level in range(3)]
    generator.create_galois_keys(elements, galois_keys)
    return Oracle(
        profile,
        context,
        sealapi.Evaluator(context.context),
        sealapi.CKKSEncoder(context.context),
        sealapi.Encryptor(context.context, public_key),
        sealapi.Decryptor(context.context, generator.secret_key()),
        galois_keys,
        elements,
    )


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], Oracle]:
    return make_oracle


def unit_vectors(count: int, dimension: int, seed: int) -> NDArray[np.float64]:
    """Random L2-normalised embeddings, shape (count, dimension)."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


__all__ = ["Keyring", "Oracle", "unit_vectors", "wire"]
