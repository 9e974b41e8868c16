import copy
import json
import pickle

import gmpy2
import pytest

from tests.unit.crypto.phe.conftest import Party
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Scheme
from veilface.crypto.public.phe.public_key import parse_public_key
from veilface.crypto.secret.phe.key_generation import generate_from_profile
from veilface.crypto.secret.phe.private_key import parse_private_key


def change(data: bytes, part: str, **fields: object) -> bytes:
    keys = json.loads(data)
    keys[part].update(fields)
    return json.dumps(keys).encode()


def test_primes_have_half_the_key_size_and_their_product_all_of_it(party: Party):
    profile = party.key.profile
    secret = json.loads(party.generated.secret_key)["private_key"]
    assert secret["p"].bit_length() == secret["q"].bit_length() == profile.prime_bits
    assert all(gmpy2.is_prime(secret[name]) and secret[name] % 4 == 3 for name in ("p", "q"))
    if profile.scheme is not Scheme.OKAMOTO_UCHIYAMA:
        assert party.key.n.bit_length() == profile.key_bits


def test_no_two_keys_are_equal(party: Party):
    assert generate_from_profile(party.key.profile).secret_key != party.generated.secret_key


def test_the_public_key_holds_no_secret_number(party: Party):
    public = json.loads(party.generated.public_key)
    assert set(public) == {"public_key"}
    secrets = json.loads(party.generated.secret_key)["private_key"].values()
    assert not set(secrets) & set(public["public_key"].values())


def test_a_private_key_shows_and_hands_out_nothing(party: Party):
    secret = json.loads(party.generated.secret_key)["private_key"]
    for shown in (repr(party.private_key), str(party.private_key), repr(party.decrypter), repr(party.generated)):
        assert not any(str(value) in shown or hex(value)[2:] in shown for value in secret.values())
    for take in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            take(party.private_key)


def test_a_wiped_decrypter_is_useless(paillier: Party):
    key = parse_private_key(paillier.generated.secret_key, paillier.key.profile)
    (ciphertext,) = paillier.encryptor.encrypt_integers([5])
    assert key.decrypt(ciphertext) == 5
    key.wipe()
    with pytest.raises(IndexError):
        key.decrypt(ciphertext)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"public_key": 1}',
        b'{"public_key": {"n": 1.5, "g": 2, "hs": 3}}',
        b'{"public_key": {"n": true, "g": true, "hs": true}}',
        b'{"public_key": {"n": -15, "g": 2, "hs": 3}}',
        b'{"public_key": {"n": 15, "n": 15, "g": 2, "hs": 3}}',
        b'{"public_key": {"__import__": 1}}',
        b"__import__('os').abort()",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_public_key_is_refused(paillier: Party, data: bytes):
    with pytest.raises(InvalidArgumentError) as refused:
        parse_public_key(data, paillier.key.profile)
    assert refused.value.reason is Reason.MALFORMED_KEY


def test_a_public_key_with_other_numbers_is_refused(party: Party):
    profile, good = party.key.profile, party.generated.public_key
    n = int(party.key.n)
    bad = [
        change(good, "public_key", n=n + 1),
        change(good, "public_key", n=n >> 8 | 1),
        change(good, "public_key", g=2),
        change(good, "public_key", extra=1),
        party.generated.secret_key,
    ]
    if profile.scheme is not Scheme.OKAMOTO_UCHIYAMA:
        bad += [change(good, "public_key", hs=1), change(good, "public_key", hs=n)]
    if profile.scheme is Scheme.DAMGARD_JURIK:
        bad += [change(good, "public_key", s=1)]
    for data in bad:
        with pytest.raises(InvalidArgumentError) as refused:
            parse_public_key(data, profile)
        assert refused.value.reason is Reason.MALFORMED_KEY
    assert parse_public_key(good, profile) == party.key


def test_a_private_key_that_does_not_fit_its_public_key_is_refused(party: Party):
    profile, good = party.key.profile, party.generated.secret_key
    p = json.loads(good)["private_key"]["p"]
    other = json.loads(generate_from_profile(profile).secret_key)["private_key"]
    bad = [
        party.generated.public_key,
        change(good, "private_key", p=p + 2),
        change(good, "private_key", **other),
        change(good, "private_key", extra=1),
    ]
    for data in bad:
        with pytest.raises(InvalidArgumentError) as refused:
            parse_private_key(data, profile)
        assert refused.value.reason is Reason.MALFORMED_KEY
        assert str(p) not in refused.value.message
    assert parse_private_key(bytearray(good), profile).public_key == party.key
