import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.crypto.phe.conftest import Party
from tests.unit.crypto.phe.faces import embeddings
from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.phe import wire

SPACE = TemplateSpace(4)
FACE = embeddings(1, 4, seed=31)[0]


def reference(party: Party, space: TemplateSpace = SPACE) -> bytes:
    return party.encryptor.encrypt(FACE, space, TemplateUse.REFERENCE)


def probe(party: Party) -> bytes:
    return party.encryptor.encrypt(FACE, SPACE, TemplateUse.PLAINTEXT_PROBE)


def refused(party: Party, data: bytes, use: TemplateUse = TemplateUse.REFERENCE) -> Reason:
    with pytest.raises(InvalidCiphertextError) as error:
        party.comparer.check_template(data, SPACE, use)
    return error.value.reason


def test_well_formed_templates_are_accepted(party: Party):
    party.comparer.check_template(reference(party), SPACE, TemplateUse.REFERENCE)
    party.comparer.check_template(probe(party), SPACE, TemplateUse.PLAINTEXT_PROBE)


def test_each_way_to_be_wrong_has_its_reason(party: Party, parties: dict[Scheme, Party]):
    good = reference(party)
    other = next(each for each in parties.values() if each is not party)
    euclidean = TemplateSpace(4, Metric.SQUARED_EUCLIDEAN)
    longer = party.encryptor.encrypt(embeddings(1, 5, 1)[0], TemplateSpace(5), TemplateUse.REFERENCE)
    assert refused(party, b"") is Reason.WRONG_SIZE
    assert refused(party, good[:-1]) is Reason.WRONG_SIZE
    assert refused(party, good + b"\0") is Reason.WRONG_SIZE
    assert refused(party, b"XXXX" + good[4:]) is Reason.MALFORMED_CIPHERTEXT
    assert refused(party, good[:31] + b"\1" + good[32:]) is Reason.MALFORMED_CIPHERTEXT
    assert refused(party, reference(other)) is Reason.WRONG_KEY_VERSION
    assert refused(party, probe(party)) is Reason.WRONG_USE
    assert refused(party, good, TemplateUse.PLAINTEXT_PROBE) is Reason.WRONG_USE
    assert refused(party, reference(party, euclidean)) is Reason.WRONG_METRIC
    assert refused(party, longer) is Reason.WRONG_DIMENSION


def test_ciphertexts_that_are_no_units_below_the_modulus_are_refused(party: Party):
    good = reference(party)
    width = party.key.profile.ciphertext_bytes
    for value in (0, int(party.key.modulus), int(party.key.n), 2 ** (8 * width) - 1):
        bad = good[:-width] + (value % 2 ** (8 * width)).to_bytes(width, "little")
        assert refused(party, bad) is Reason.MALFORMED_CIPHERTEXT


def test_a_probe_longer_than_an_embedding_is_refused_because_scores_would_overflow(party: Party):
    scaled = wire.write_probe(party.key, SPACE, np.array([2000, 2000, 0, 0]))
    assert refused(party, scaled, TemplateUse.PLAINTEXT_PROBE) is Reason.MALFORMED_CIPHERTEXT
    party.comparer.check_template(
        wire.write_probe(party.key, SPACE, np.array([2000, 0, 0, 0])), SPACE, TemplateUse.PLAINTEXT_PROBE
    )


def test_a_template_is_not_decrypted_as_a_score(party: Party):
    for data in (reference(party), probe(party), b"", b"\0" * 64):
        with pytest.raises(InvalidCiphertextError):
            party.decrypter.decrypt(data, SPACE, 1)


def test_a_score_of_another_count_space_or_key_is_refused(party: Party, parties: dict[Scheme, Party]):
    score = party.comparer.compare(reference(party), probe(party), SPACE)
    other = next(each for each in parties.values() if each is not party)
    with pytest.raises(InvalidCiphertextError) as count:
        party.decrypter.decrypt(score, SPACE, 2)
    assert count.value.reason is Reason.WRONG_SIZE
    with pytest.raises(InvalidCiphertextError) as space:
        party.decrypter.decrypt(score, TemplateSpace(5), 1)
    assert space.value.reason is Reason.WRONG_DIMENSION
    with pytest.raises(InvalidCiphertextError) as key:
        other.decrypter.decrypt(score, SPACE, 1)
    assert key.value.reason is Reason.WRONG_KEY_VERSION
    assert party.decrypter.decrypt(score, SPACE, 1).shape == (1,)


def test_a_message_that_is_no_score_is_refused_not_returned(party: Party):
    too_large = party.encryptor.encrypt_integers([1 << 30])
    payload = wire.write_integers(party.key, too_large)
    with pytest.raises(InvalidCiphertextError) as error:
        party.decrypter.decrypt(wire.write(party.key, wire.Header(wire.Kind.VERIFY_SCORE, SPACE, 1), payload), SPACE, 1)
    assert error.value.reason is Reason.MALFORMED_CIPHERTEXT
    assert str(1 << 30) not in error.value.message


def test_a_search_response_with_other_positions_than_scores_is_refused(paillier: Party):
    segment = paillier.comparer.new_segment(SPACE)
    segment.add(reference(paillier), 0)
    prepared = paillier.comparer.prepare_probe(probe(paillier), SPACE)
    (response,) = paillier.comparer.search(prepared, [segment], [np.array([0])])
    assert paillier.decrypter.decrypt(response, SPACE, 1).shape == (1,)
    tampered = bytearray(response)
    tampered[wire.HEADER_BYTES] = 0b11
    with pytest.raises(InvalidCiphertextError) as error:
        paillier.decrypter.decrypt(bytes(tampered), SPACE, 1)
    assert error.value.reason is Reason.WRONG_SIZE


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_headers_and_random_bytes_only_ever_raise_the_typed_error(paillier: Party, data: st.DataObject):
    good = reference(paillier)
    position = data.draw(st.integers(0, wire.HEADER_BYTES - 1))
    flip = data.draw(st.integers(1, 255))
    flipped = good[:position] + bytes([good[position] ^ flip]) + good[position + 1 :]
    for bad in (flipped, data.draw(st.binary(max_size=80))):
        with pytest.raises(InvalidCiphertextError):
            paillier.comparer.check_template(bad, SPACE, TemplateUse.REFERENCE)
        with pytest.raises(InvalidCiphertextError):
            paillier.decrypter.decrypt(bad, SPACE, 1)
        with pytest.raises(InvalidCiphertextError):
            paillier.comparer.segment_from_bytes(bad, SPACE)
