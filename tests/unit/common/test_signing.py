import base64
import copy
import json
import pickle
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from veilface.common.errors import ConfigurationError, PermissionDeniedError, Reason
from veilface.common.signing import SCORE_DOMAIN, TEMPLATE_DOMAIN, SignatureValue, Signer, TrustStore, key_id

IDENTITY = "spiffe://veilface/embedding"


@pytest.fixture(scope="module")
def signer():
    return Signer.generate(IDENTITY)


@pytest.fixture(scope="module")
def trust(signer):
    return TrustStore({IDENTITY: [signer.public_key_bytes]})


def refusal(trust, domain, message, signature):
    with pytest.raises(PermissionDeniedError) as caught:
        trust.verify(domain, message, signature)
    return caught.value.reason


@given(message=st.binary(max_size=200))
def test_a_signature_of_a_trusted_key_is_accepted(signer, trust, message):
    trust.verify(TEMPLATE_DOMAIN, message, signer.sign(TEMPLATE_DOMAIN, message))


def test_a_signature_names_its_signer_and_key(signer):
    signature = signer.sign(TEMPLATE_DOMAIN, b"message")
    assert signature.signer == IDENTITY
    assert signature.key_id == key_id(signer.public_key_bytes)
    assert (len(signature.key_id), len(signature.value)) == (8, 64)


@given(bit=st.integers(0, 64 * 8 - 1))
def test_a_signature_with_any_bit_flipped_is_refused(signer, trust, bit):
    signature = signer.sign(TEMPLATE_DOMAIN, b"message")
    flipped = bytearray(signature.value)
    flipped[bit // 8] ^= 1 << (bit % 8)
    forged = SignatureValue(signature.signer, signature.key_id, bytes(flipped))
    assert refusal(trust, TEMPLATE_DOMAIN, b"message", forged) is Reason.BAD_SIGNATURE


def test_a_changed_message_is_refused(signer, trust):
    assert refusal(trust, TEMPLATE_DOMAIN, b"massage", signer.sign(TEMPLATE_DOMAIN, b"message")) is Reason.BAD_SIGNATURE


def test_a_signature_for_another_domain_is_refused(signer, trust):
    assert refusal(trust, SCORE_DOMAIN, b"message", signer.sign(TEMPLATE_DOMAIN, b"message")) is Reason.BAD_SIGNATURE


def test_bytes_cannot_move_between_domain_and_message(signer, trust):
    signature = signer.sign("ab", b"c")
    trust.verify("ab", b"c", signature)
    assert refusal(trust, "a", b"bc", signature) is Reason.BAD_SIGNATURE


def test_an_unknown_signer_is_refused(trust):
    stranger = Signer.generate("spiffe://veilface/stranger")
    assert refusal(trust, TEMPLATE_DOMAIN, b"m", stranger.sign(TEMPLATE_DOMAIN, b"m")) is Reason.UNTRUSTED_SIGNER


def test_an_unknown_key_of_a_known_signer_is_refused(trust):
    impostor = Signer.generate(IDENTITY)
    assert refusal(trust, TEMPLATE_DOMAIN, b"m", impostor.sign(TEMPLATE_DOMAIN, b"m")) is Reason.UNTRUSTED_SIGNER


def test_a_signature_of_the_wrong_length_is_refused(signer, trust):
    signature = signer.sign(TEMPLATE_DOMAIN, b"m")
    short = SignatureValue(signature.signer, signature.key_id, signature.value[:63])
    assert refusal(trust, TEMPLATE_DOMAIN, b"m", short) is Reason.BAD_SIGNATURE


def test_both_keys_are_accepted_while_one_replaces_the_other():
    old, new = Signer.generate(IDENTITY), Signer.generate(IDENTITY)
    trust = TrustStore({IDENTITY: [old.public_key_bytes, new.public_key_bytes]})
    for signer in (old, new):
        trust.verify(TEMPLATE_DOMAIN, b"m", signer.sign(TEMPLATE_DOMAIN, b"m"))


def test_a_saved_signer_signs_the_same_and_only_its_owner_can_read_it(signer, trust, tmp_path):
    path = tmp_path / "embedding.pem"
    signer.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = Signer.from_file(path, IDENTITY)
    trust.verify(TEMPLATE_DOMAIN, b"m", loaded.sign(TEMPLATE_DOMAIN, b"m"))


def test_a_saved_trust_store_accepts_the_same(signer, trust, tmp_path):
    trust.save(tmp_path / "trust.json")
    loaded = TrustStore.from_file(tmp_path / "trust.json")
    assert loaded.identities == trust.identities
    loaded.verify(TEMPLATE_DOMAIN, b"m", signer.sign(TEMPLATE_DOMAIN, b"m"))


def test_the_documented_trust_file_is_read(signer, tmp_path):
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({IDENTITY: [base64.b64encode(signer.public_key_bytes).decode()]}))
    TrustStore.from_file(path).verify(TEMPLATE_DOMAIN, b"m", signer.sign(TEMPLATE_DOMAIN, b"m"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not json",
        "[]",
        '{"a": "not a list"}',
        '{"a": [1]}',
        '{"a": ["not base64!"]}',
        '{"a": ["c2hvcnQ="]}',
        '"text"',
    ],
)
def test_a_malformed_trust_file_is_a_configuration_error(content, tmp_path):
    path = tmp_path / "trust.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"trust") as caught:
        TrustStore.from_file(path)
    assert caught.value.reason is Reason.INVALID_SETTING


def test_a_missing_key_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"missing\.pem"):
        Signer.from_file(tmp_path / "missing.pem", IDENTITY)


def test_a_key_of_another_kind_is_a_configuration_error(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(ConfigurationError, match="Ed25519"):
        Signer.from_file(path, IDENTITY)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_signer_is_neither_copied_nor_pickled(signer, duplicate):
    with pytest.raises(TypeError, match="private key"):
        duplicate(signer)


def test_a_signer_shows_its_identity_but_not_its_key(signer, tmp_path):
    signer.save(tmp_path / "key.pem")
    secret = "".join((tmp_path / "key.pem").read_text().splitlines()[1:-1])
    assert IDENTITY in repr(signer)
    assert secret not in repr(signer)
    assert base64.b64decode(secret)[-32:].hex() not in repr(signer)
