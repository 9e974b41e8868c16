"""A real key pair, made once."""

import pytest

from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.crypto.public.registry import default_profile
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.registry import generate_key


@pytest.fixture(scope="session")
def key_pair() -> GeneratedKey:
    return generate_key(Scheme.CKKS_PACKED, default_profile(Scheme.CKKS_PACKED))


@pytest.fixture(scope="session")
def key(key_pair: GeneratedKey) -> PublicMaterial:
    profile = default_profile(Scheme.CKKS_PACKED)
    return PublicMaterial(Scheme.CKKS_PACKED, profile, "keys/staff/versions/1", key_pair.public_key, b"")
