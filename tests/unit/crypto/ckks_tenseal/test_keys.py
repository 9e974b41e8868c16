import copy
import pickle
from dataclasses import replace

import pytest
import tenseal as ts

from tests.unit.crypto.ckks_tenseal.conftest import Party
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Scheme
from veilface.crypto.public.ckks_tenseal.factory import load_comparer, load_encryptor
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile, tenseal_profile
from veilface.crypto.public.ckks_tenseal.protobuf import PRIVATE_CONTEXT_FIELD, fields
from veilface.crypto.secret.ckks_tenseal.factory import load_decrypter
from veilface.crypto.secret.ckks_tenseal.key_generation import check_known_answer
from veilface.crypto.secret.ckks_tenseal.private_context import PrivateContext


def test_public_bytes_hold_no_secret_key(party: Party) -> None:
    for public in (party.generated.public_key, party.generated.evaluation_keys):
        assert PRIVATE_CONTEXT_FIELD not in [field for field, _ in fields(public)]
        assert not ts.context_from(public).has_secret_key()
    # The control: the secret key has the field.
    assert PRIVATE_CONTEXT_FIELD in [field for field, _ in fields(party.generated.secret_key)]


def test_an_encryptor_gets_no_evaluation_keys_and_a_comparer_no_public_key(party: Party) -> None:
    public, evaluation = (
        ts.context_from(data) for data in (party.generated.public_key, party.generated.evaluation_keys)
    )
    assert public.has_public_key()
    assert not public.has_galois_keys()
    assert evaluation.has_galois_keys()
    assert not evaluation.has_public_key()


@pytest.mark.parametrize("load", [load_encryptor, load_comparer])
def test_a_context_with_a_secret_key_is_refused_by_the_public_side(party: Party, load) -> None:
    secret = party.generated.secret_key
    with pytest.raises(InvalidArgumentError, match="secret key") as refused:
        load(replace(party.material, public_key=secret, evaluation_keys=secret))
    assert refused.value.reason is Reason.MALFORMED_KEY
    assert load(party.material)


@pytest.mark.parametrize("load", [load_encryptor, load_comparer])
def test_keys_that_lack_what_the_role_needs_are_refused(party: Party, load) -> None:
    swapped = replace(
        party.material, public_key=party.generated.evaluation_keys, evaluation_keys=party.generated.public_key
    )
    with pytest.raises(InvalidArgumentError) as refused:
        load(swapped)
    assert refused.value.reason is Reason.MALFORMED_KEY


@pytest.mark.parametrize("data", [b"", b"\x0a", b"\xff" * 40, b"\x0a\x03abc", b"\x1a\x00"])
def test_bytes_that_are_no_context_are_refused(party: Party, data: bytes) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        load_encryptor(replace(party.material, public_key=data))
    assert refused.value.reason is Reason.MALFORMED_KEY
    with pytest.raises(InvalidArgumentError):
        load_decrypter(party.profile.name, data)


def test_a_context_of_another_profile_or_scheme_is_refused(party: Party) -> None:
    for changed in (
        replace(party.material, profile="ckks-tenseal-128-defensive"),
        replace(party.material, scheme=Scheme.CKKS_PACKED),
    ):
        with pytest.raises(InvalidArgumentError) as refused:
            load_encryptor(changed)
        assert refused.value.reason is Reason.WRONG_PARAMETERS


def test_a_public_context_is_no_secret_key(party: Party) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        load_decrypter(party.profile.name, party.generated.public_key)
    assert refused.value.reason is Reason.MALFORMED_KEY
    assert load_decrypter(party.profile.name, memoryview(bytearray(party.generated.secret_key)))


def test_a_secret_key_shows_and_hands_out_nothing(party: Party) -> None:
    secret = PrivateContext(party.profile, party.generated.secret_key)
    assert repr(secret) == "<PrivateContext ckks-tenseal-192-defensive>"
    for take in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            take(secret)


def test_a_key_that_fails_the_known_answer_is_refused(party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    check_known_answer(party.generated, party.profile)
    monkeypatch.setattr(CkksTensealProfile, "scale_correction", 1.01)
    with pytest.raises(InvalidArgumentError) as refused:
        check_known_answer(party.generated, tenseal_profile(party.profile.name))
    assert refused.value.reason is Reason.WRONG_SCALE
