"""The real key generators: what they hand over is sealed and overwritten, and nothing on the way is copied."""

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from veilface.common.names import KeyName
from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.registry import generate_key, load_decrypter, load_reencrypter
from veilface.keys.domain.key_making import NewVersion, make_version
from veilface.keys.domain.master_key import MasterKey
from veilface.keys.domain.sealing import Purpose, SealContext, open_seal
from veilface.keys.domain.secret_bytes import SecretKey

NAME = KeyName("office").version(1)
PROFILES = {
    Scheme.CKKS_PACKED: "ckks-packed-128",
    Scheme.CKKS_TENSEAL: "ckks-tenseal-128-defensive",
    Scheme.PAILLIER: "paillier-80",
    Scheme.DAMGARD_JURIK: "damgard-jurik-80",
    Scheme.OKAMOTO_UCHIYAMA: "okamoto-uchiyama-80",
}
real_generate = partial(generate_key, research=True)


@pytest.fixture(scope="module", params=PROFILES, ids=str)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    scheme: Scheme = request.param
    return scheme


@pytest.fixture(scope="module")
def generated(scheme: Scheme) -> GeneratedKey:  # type: ignore[override]
    return real_generate(scheme, PROFILES[scheme])


def test_the_secret_of_a_real_generator_is_sealed_and_then_overwritten(scheme: Scheme, master_key: MasterKey) -> None:
    made: list[GeneratedKey] = []
    secrets: list[bytes] = []

    def generate(scheme: Scheme, profile: str) -> GeneratedKey:
        made.append(real_generate(scheme, profile))
        secrets.append(bytes(made[-1].secret_key))
        return made[-1]

    new = NewVersion(NAME, scheme, PROFILES[scheme], transformed=False, create_time=datetime(2030, 5, 17, tzinfo=UTC))
    stored = make_version(new, generate, master_key)
    assert made[0].secret_key == bytearray(len(secrets[0]))
    context = SealContext(
        Purpose.SECRET_KEY,
        NAME,
        scheme,
        PROFILES[scheme],
        stored.version.public_key_sha256,
        stored.version.evaluation_keys_sha256,
    )
    with open_seal(SecretKey, stored.sealed_secret_key, context, master_key) as opened, opened.exposed() as view:
        assert view == secrets[0]


def test_nothing_that_holds_a_secret_key_is_shown_copied_or_pickled(scheme: Scheme, generated: GeneratedKey) -> None:
    profile = PROFILES[scheme]
    material = PublicMaterial(scheme, profile, str(NAME), generated.public_key, generated.evaluation_keys)
    decrypter: Any = load_decrypter(scheme, profile, generated.secret_key, research=True)
    reencrypter: Any = load_reencrypter(
        scheme, profile, generated.secret_key, material, (b"a" * 32, b"b" * 32), research=True
    )
    holders: list[Any] = [generated, decrypter, reencrypter, reencrypter._renewal]
    if hasattr(decrypter, "_key"):
        holders += [decrypter._key, *decrypter._key._primes]
    else:
        holders += [decrypter._secret, reencrypter._source if hasattr(reencrypter, "_source") else reencrypter._secret]
    duplicates: list[Callable[[Any], object]] = [copy.copy, copy.deepcopy, pickle.dumps]
    for holder in holders:
        for duplicate in duplicates:
            with pytest.raises(TypeError, match="holds a secret"):
                duplicate(holder)
        # Its class, and a profile at most.
        assert len(repr(holder)) < 60
        assert repr(holder).startswith(f"<{type(holder).__name__}")


def test_what_holds_no_secret_is_copied(scheme: Scheme, generated: GeneratedKey) -> None:
    material = PublicMaterial(scheme, PROFILES[scheme], str(NAME), generated.public_key, generated.evaluation_keys)
    assert copy.deepcopy(material) == pickle.loads(pickle.dumps(material)) == material
