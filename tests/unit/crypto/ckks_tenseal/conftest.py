"""One key per profile and session."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.crypto.public.ckks_tenseal.compare import TensealComparer
from veilface.crypto.public.ckks_tenseal.encrypt import TensealEncryptor
from veilface.crypto.public.ckks_tenseal.factory import load_comparer, load_encryptor
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile, tenseal_profile
from veilface.crypto.secret.ckks_tenseal.decrypt import TensealDecrypter
from veilface.crypto.secret.ckks_tenseal.factory import generate_key, load_decrypter
from veilface.crypto.secret.generated import GeneratedKey

FASTEST_PROFILE = "ckks-tenseal-192-defensive"


@dataclass(frozen=True)
class Party:
    """Every role under one key."""

    profile: CkksTensealProfile
    generated: GeneratedKey
    material: PublicMaterial
    encryptor: TensealEncryptor
    comparer: TensealComparer
    decrypter: TensealDecrypter


def make_party(name: str) -> Party:
    generated = generate_key(name)
    material = PublicMaterial(
        Scheme.CKKS_TENSEAL, name, "keys/test/versions/1", generated.public_key, generated.evaluation_keys
    )
    return Party(
        tenseal_profile(name),
        generated,
        material,
        load_encryptor(material),
        load_comparer(material),
        load_decrypter(name, generated.secret_key),
    )


@pytest.fixture(scope="session")
def party_of() -> Callable[[str], Party]:
    return lru_cache(maxsize=None)(make_party)


@pytest.fixture
def party(party_of: Callable[[str], Party]) -> Party:
    return party_of(FASTEST_PROFILE)


def pair_with_cosine(dimension: int, cosine: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two unit vectors."""
    generator = np.random.default_rng(seed)
    a = generator.normal(size=dimension)
    a /= np.linalg.norm(a)
    other = generator.normal(size=dimension)
    other -= (other @ a) * a
    other /= np.linalg.norm(other)
    return a, cosine * a + np.sqrt(1 - cosine**2) * other
