import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.crypto.ckks_tenseal.conftest import Party, make_party, pair_with_cosine
from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.ckks_tenseal import wire

SPACE = TemplateSpace(16)
A, B = pair_with_cosine(16, 0.5, seed=9)


def reference(party: Party, space: TemplateSpace = SPACE) -> bytes:
    return party.encryptor.encrypt(A, space, TemplateUse.REFERENCE)


def probe(party: Party, space: TemplateSpace = SPACE) -> bytes:
    return party.encryptor.encrypt(B, space, TemplateUse.PROBE)


def refused(party: Party, data: bytes, use: TemplateUse = TemplateUse.REFERENCE) -> Reason:
    with pytest.raises(InvalidCiphertextError) as error:
        party.comparer.check_template(data, SPACE, use)
    return error.value.reason


def test_each_way_to_be_wrong_has_its_reason(party: Party) -> None:
    good = reference(party)
    euclidean = TemplateSpace(16, Metric.SQUARED_EUCLIDEAN)
    other = make_party("ckks-tenseal-256-defensive")
    longer = party.encryptor.encrypt(pair_with_cosine(17, 0, 1)[0], TemplateSpace(17), TemplateUse.REFERENCE)
    party.comparer.check_template(good, SPACE, TemplateUse.REFERENCE)
    assert refused(party, b"") is Reason.WRONG_SIZE
    assert refused(party, good[:-1]) is Reason.WRONG_SIZE
    assert refused(party, good + b"\0") is Reason.WRONG_SIZE
    assert refused(party, b"XXXX" + good[4:]) is Reason.MALFORMED_CIPHERTEXT
    assert refused(party, good[:31] + b"\1" + good[32:]) is Reason.MALFORMED_CIPHERTEXT
    assert refused(party, reference(other)) is Reason.WRONG_PARAMETERS
    assert refused(party, probe(party)) is Reason.WRONG_USE
    assert refused(party, reference(party, euclidean)) is Reason.WRONG_METRIC
    assert refused(party, longer) is Reason.WRONG_DIMENSION
    assert refused(party, good[:-8] + b"\xff" * 8) is Reason.MALFORMED_CIPHERTEXT


def test_a_template_is_not_decrypted_as_a_score(party: Party) -> None:
    template = reference(party)
    disguised = wire.write(
        party.profile,
        wire.Kind.SCORE,
        SPACE,
        wire.read(party.profile, wire.Kind.REFERENCE, SPACE, template)[:, : len(party.profile.score_primes)],
    )
    for data in (template, disguised, b""):
        with pytest.raises(InvalidCiphertextError):
            party.decrypter.decrypt(data, SPACE, 1)


def test_a_score_of_another_count_space_or_key_is_refused(party: Party) -> None:
    score = party.comparer.compare(reference(party), probe(party), SPACE)
    assert party.decrypter.decrypt(score, SPACE, 1)[0] == pytest.approx(0.5, abs=1e-4)
    for space, count in ((SPACE, 2), (SPACE, 0), (TemplateSpace(17), 1)):
        with pytest.raises(InvalidCiphertextError):
            party.decrypter.decrypt(score, space, count)
    with pytest.raises(InvalidCiphertextError):
        make_party(party.profile.name).decrypter.decrypt(score, SPACE, 1)


def test_comparing_a_ciphertext_with_itself_is_refused_not_a_crash(party: Party) -> None:
    space = TemplateSpace(16, Metric.SQUARED_EUCLIDEAN)
    template = reference(party, space)
    residues = wire.read(party.profile, wire.Kind.REFERENCE, space, template)
    same = wire.write(party.profile, wire.Kind.PROBE, space, residues)
    with pytest.raises(InvalidCiphertextError) as error:
        party.comparer.compare(template, same, space)
    assert error.value.reason is Reason.MALFORMED_CIPHERTEXT


def test_a_transparent_ciphertext_is_refused(party: Party) -> None:
    residues = wire.read(party.profile, wire.Kind.PROBE, SPACE, probe(party)).copy()
    residues[1] = 0
    transparent = wire.write(party.profile, wire.Kind.PROBE, SPACE, residues)
    with pytest.raises(InvalidCiphertextError) as error:
        party.comparer.compare(reference(party), transparent, SPACE)
    assert error.value.reason is Reason.MALFORMED_CIPHERTEXT


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_headers_and_random_bytes_only_ever_raise_the_typed_error(party: Party, data: st.DataObject) -> None:
    good = wire.write(party.profile, wire.Kind.REFERENCE, SPACE, np.zeros((2, 2, party.profile.degree), np.uint64))
    position = data.draw(st.integers(0, wire.HEADER_BYTES - 1))
    flip = data.draw(st.integers(1, 255))
    flipped = good[:position] + bytes([good[position] ^ flip]) + good[position + 1 :]
    for bad in (flipped, data.draw(st.binary(max_size=80))):
        with pytest.raises(InvalidCiphertextError):
            party.comparer.check_template(bad, SPACE, TemplateUse.REFERENCE)
        with pytest.raises(InvalidCiphertextError):
            party.decrypter.decrypt(bad, SPACE, 1)
