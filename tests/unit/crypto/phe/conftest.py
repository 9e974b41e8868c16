"""Small keys, one per scheme and session. A key of 512 bits has no security and every property that is tested."""

from dataclasses import dataclass

import pytest

from veilface.crypto.contract import Scheme
from veilface.crypto.public.phe.compare import PheComparer
from veilface.crypto.public.phe.encrypt import PheEncryptor
from veilface.crypto.public.phe.profiles import PROFILES, PheProfile
from veilface.crypto.public.phe.public_key import PhePublicKey, parse_public_key
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.phe.decrypt import PheDecrypter
from veilface.crypto.secret.phe.key_generation import generate_from_profile
from veilface.crypto.secret.phe.private_key import PhePrivateKey, parse_private_key

SMALL_KEY_BITS = 512


@dataclass(frozen=True)
class Party:
    """Every role under one key."""

    generated: GeneratedKey
    key: PhePublicKey
    private_key: PhePrivateKey
    encryptor: PheEncryptor
    comparer: PheComparer
    decrypter: PheDecrypter


def small_profile(scheme: Scheme) -> PheProfile:
    exponent = 2 if scheme is Scheme.DAMGARD_JURIK else 1
    return PheProfile(f"{scheme.value}-test", scheme, 0, SMALL_KEY_BITS, exponent, "no security: tests only")


def make_party(profile: PheProfile) -> Party:
    generated = generate_from_profile(profile)
    key = parse_public_key(generated.public_key, profile)
    private_key = parse_private_key(generated.secret_key, profile)
    return Party(generated, key, private_key, PheEncryptor(key), PheComparer(key), PheDecrypter(private_key))


@pytest.fixture(scope="session")
def parties() -> dict[Scheme, Party]:
    return {scheme: make_party(small_profile(scheme)) for scheme in PROFILES}


@pytest.fixture(params=list(PROFILES), ids=lambda scheme: scheme.value)
def party(parties: dict[Scheme, Party], request: pytest.FixtureRequest) -> Party:
    return parties[request.param]


@pytest.fixture
def paillier(parties: dict[Scheme, Party]) -> Party:
    return parties[Scheme.PAILLIER]
