"""Bytes from outside are parsed by the numbers: anything unexpected is a typed error, and never a crash."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.crypto.packed.conftest import Keyring, unit_vectors
from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed import bitpack

SPACE = TemplateSpace(64)


@pytest.fixture(scope="module")
def key(keyring: Callable[[str], Keyring]) -> Keyring:
    return keyring("ckks-packed-128")


@pytest.fixture(scope="module")
def reference(key: Keyring) -> bytes:
    return key.encryptor.encrypt(unit_vectors(1, 64, 1)[0], SPACE, TemplateUse.REFERENCE)


@pytest.fixture(scope="module")
def probe(key: Keyring) -> bytes:
    return key.encryptor.encrypt(unit_vectors(1, 64, 2)[0], SPACE, TemplateUse.PROBE)


def changed(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + bytes([value]) + data[offset + 1 :]


def test_a_template_passes_the_check_it_was_made_for(key: Keyring, reference: bytes, probe: bytes) -> None:
    key.comparer.check_template(reference, SPACE, TemplateUse.REFERENCE)
    key.comparer.check_template(probe, SPACE, TemplateUse.PROBE)


@pytest.mark.parametrize(
    ("mutate", "reason"),
    [
        (lambda data: b"", Reason.WRONG_SIZE),
        (lambda data: data[:-1], Reason.WRONG_SIZE),
        (lambda data: data + b"\0", Reason.WRONG_SIZE),
        (lambda data: changed(data, 0, 0), Reason.MALFORMED_CIPHERTEXT),
        (lambda data: changed(data, 4, 3), Reason.WRONG_USE),
        (lambda data: changed(data, 4, 99), Reason.WRONG_USE),
        (lambda data: changed(data, 5, 3), Reason.WRONG_LEVEL),
        (lambda data: changed(data, 6, 2), Reason.WRONG_LEVEL),
        (lambda data: changed(data, 7, 13), Reason.WRONG_PARAMETERS),
        (lambda data: changed(data, 8, 36), Reason.WRONG_SCALE),
        (lambda data: changed(data, 10, 65), Reason.WRONG_DIMENSION),
        (lambda data: changed(data, 20, data[20] ^ 1), Reason.WRONG_PARAMETERS),
        (lambda data: changed(data, 31, 1), Reason.MALFORMED_CIPHERTEXT),
        (lambda data: changed(data, 35, 0xFF), Reason.MALFORMED_CIPHERTEXT),
    ],
)
def test_a_template_that_is_not_exactly_right_is_refused(
    mutate: Callable[[bytes], bytes], reason: Reason, key: Keyring, reference: bytes
) -> None:
    with pytest.raises(InvalidCiphertextError) as caught:
        key.comparer.check_template(mutate(reference), SPACE, TemplateUse.REFERENCE)
    assert caught.value.reason is reason


def test_a_probe_is_not_a_reference(key: Keyring, probe: bytes) -> None:
    with pytest.raises(InvalidCiphertextError) as caught:
        key.comparer.new_segment(SPACE).add(probe, 0)
    assert caught.value.reason is Reason.WRONG_USE


def test_a_template_of_another_profile_is_refused(
    key: Keyring, keyring: Callable[[str], Keyring], reference: bytes
) -> None:
    with pytest.raises(InvalidCiphertextError) as caught:
        keyring("ckks-packed-256").comparer.check_template(reference, SPACE, TemplateUse.REFERENCE)
    assert caught.value.reason is Reason.WRONG_SIZE


def test_a_template_in_place_of_a_score_is_refused_before_decryption(key: Keyring, reference: bytes) -> None:
    with pytest.raises(InvalidCiphertextError) as caught:
        key.decrypter.decrypt(reference, SPACE, 1)
    assert caught.value.reason is Reason.WRONG_USE


def test_a_score_decrypts_only_as_what_it_is(key: Keyring, reference: bytes, probe: bytes) -> None:
    score = key.comparer.compare(reference, probe, SPACE)
    assert key.decrypter.decrypt(score, SPACE, 1).shape == (1,)
    for count, space in ((2, SPACE), (1, TemplateSpace(65))):
        with pytest.raises(InvalidCiphertextError):
            key.decrypter.decrypt(score, space, count)


def test_a_search_answer_must_agree_with_its_slots(key: Keyring, reference: bytes, probe: bytes) -> None:
    segment = key.comparer.new_segment(SPACE)
    segment.add(reference, 5)
    (answer,) = key.comparer.search(key.comparer.prepare_probe(probe, SPACE), [segment], [np.array([5])])
    assert key.decrypter.decrypt(answer, SPACE, 1).shape == (1,)
    with pytest.raises(InvalidCiphertextError) as caught:
        key.decrypter.decrypt(changed(answer, 32, 0xFF), SPACE, 1)
    assert caught.value.reason is Reason.MALFORMED_CIPHERTEXT


def test_random_changes_never_do_anything_but_raise_a_typed_error(key: Keyring, reference: bytes, probe: bytes) -> None:
    rng = np.random.default_rng(3)
    score = key.comparer.compare(reference, probe, SPACE)
    refused = 0
    for _ in range(3000):
        data = bytearray(score if rng.random() < 0.5 else reference)
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(0, 48 if rng.random() < 0.8 else len(data)))] ^= int(rng.integers(1, 256))
        if rng.random() < 0.3:
            data = data[: int(rng.integers(0, len(data)))]
        try:
            key.comparer.check_template(bytes(data), SPACE, TemplateUse.REFERENCE)
        except InvalidCiphertextError:
            refused += 1
        try:
            key.decrypter.decrypt(bytes(data), SPACE, 1)
        except InvalidCiphertextError:
            refused += 1
    assert refused > 3000


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 1000])
def test_bit_packing_is_dense_and_comes_back_unchanged(count: int) -> None:
    values = np.random.default_rng(4).integers(0, 2**26, count, dtype=np.uint32)
    packed = bitpack.pack(values, 26)
    assert len(packed) == -(-count * 26 // 8)
    unpacked, clean = bitpack.unpack(packed, count, 26)
    assert np.array_equal(unpacked, values)
    assert clean


def test_evaluation_keys_of_another_profile_are_refused(keyring: Callable[[str], Keyring]) -> None:
    from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys

    key, other = keyring("ckks-packed-128"), keyring("ckks-packed-256")
    EvaluationKeys.from_bytes(key.profile, key.material.evaluation_keys)
    with pytest.raises(InvalidCiphertextError):
        EvaluationKeys.from_bytes(key.profile, other.material.evaluation_keys)
