import numpy as np
import pytest

from tests.unit.crypto.phe.conftest import Party
from tests.unit.crypto.phe.faces import embeddings, integer_scores
from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.phe.segment import PheSegment

SPACE = TemplateSpace(12)
FACES = embeddings(6, 12, seed=11)
PROBE = embeddings(1, 12, seed=12)[0]


def enroll(party: Party, slots: list[int], space: TemplateSpace = SPACE) -> tuple[PheSegment, list[bytes]]:
    segment = party.comparer.new_segment(space)
    templates = [party.encryptor.encrypt(face, space, TemplateUse.REFERENCE) for face in FACES[: len(slots)]]
    for template, slot in zip(templates, slots, strict=True):
        segment.add(template, slot)
    return segment, templates


def search(party: Party, segment: PheSegment, slots: list[int], space: TemplateSpace = SPACE) -> bytes:
    prepared = party.comparer.prepare_probe(party.encryptor.encrypt(PROBE, space, TemplateUse.PLAINTEXT_PROBE), space)
    (response,) = party.comparer.search(prepared, [segment], [np.array(slots)])
    return response


def before_masking(party: Party, segment: PheSegment) -> int:
    """The packed scores as the matcher computes them, before it masks and re-randomises them."""
    prepared = party.comparer.prepare_probe(party.encryptor.encrypt(PROBE, SPACE, TemplateUse.PLAINTEXT_PROBE), SPACE)
    (product,) = party.comparer._products(prepared, [segment.packed()])
    return party.private_key.decrypt(product)


@pytest.mark.parametrize("metric", list(Metric))
def test_templates_packed_one_by_one_or_together_score_the_same(party: Party, metric: Metric):
    space = TemplateSpace(12, metric)
    together, templates = enroll(party, [4, 0, 3], space)
    one_by_one = party.comparer.new_segment(space)
    for template, slot in zip(templates, [4, 0, 3], strict=True):
        one_by_one.add(template, slot)
        one_by_one.packed()

    expected = integer_scores(FACES[[1, 2, 0]], PROBE, space)
    for segment in (together, one_by_one):
        response = search(party, segment, [0, 3, 4], space)
        assert party.decrypter.decrypt_integers(response, space, 3) == expected


def test_rows_and_slots_of_a_search_are_of_one_moment(party: Party):
    segment, templates = enroll(party, [0, 2])
    packed = segment.packed()
    rows = packed.rows.copy()
    segment.subtract(templates[1], 2)
    segment.add(party.encryptor.encrypt(FACES[2], SPACE, TemplateUse.REFERENCE), 1)
    assert segment.packed().occupied.tolist() == [0, 1]
    assert packed.occupied.tolist() == [0, 2]
    assert np.array_equal(packed.rows, rows)


def test_a_segment_survives_serialization(party: Party):
    segment, _ = enroll(party, [2, 4])
    copy = party.comparer.segment_from_bytes(segment.to_bytes(), SPACE)
    copy.add(party.encryptor.encrypt(FACES[2], SPACE, TemplateUse.REFERENCE), 0)

    scores = party.decrypter.decrypt_integers(search(party, copy, [0, 2, 4]), SPACE, 3)

    assert scores == integer_scores(FACES[[2, 0, 1]], PROBE, SPACE)
    assert copy.occupied.tolist() == [0, 2, 4]
    assert segment.occupied.tolist() == [2, 4]


def test_a_subtracted_slot_holds_zero(party: Party):
    segment, templates = enroll(party, [1, 2])
    first, second = integer_scores(FACES[:2], PROBE, SPACE)
    assert before_masking(party, segment) == (first << segment.layout.shift(1)) + (second << segment.layout.shift(2))
    segment.subtract(templates[0], 1)
    assert before_masking(party, segment) == second << segment.layout.shift(2)
    assert party.decrypter.decrypt_integers(search(party, segment, [2]), SPACE, 1) == [second]


def test_a_subtracted_slot_can_be_used_again(party: Party):
    segment, templates = enroll(party, [1, 2])
    segment.packed()
    segment.subtract(templates[0], 1)
    segment.add(party.encryptor.encrypt(FACES[3], SPACE, TemplateUse.REFERENCE), 1)
    scores = party.decrypter.decrypt_integers(search(party, segment, [1, 2]), SPACE, 2)
    assert scores == integer_scores(FACES[[3, 1]], PROBE, SPACE)


def test_responses_are_randomised_anew(party: Party):
    segment, _ = enroll(party, [0])
    prepared = party.comparer.prepare_probe(party.encryptor.encrypt(PROBE, SPACE, TemplateUse.PLAINTEXT_PROBE), SPACE)
    # The control: the products alone are the same every time, and so would tell equal probes.
    packed = [segment.packed()]
    assert party.comparer._products(prepared, packed) == party.comparer._products(prepared, packed)
    assert search(party, segment, [0]) != search(party, segment, [0])


def test_an_empty_segment_slot_cannot_be_scored(party: Party):
    segment, _ = enroll(party, [0])
    for slots in ([1], [0, 1], []):
        with pytest.raises(InvalidArgumentError) as refused:
            search(party, segment, slots)
        assert refused.value.reason is Reason.INVALID_FIELD
    assert search(party, segment, [0])


def test_a_taken_slot_an_empty_slot_and_a_missing_slot_are_refused(party: Party):
    segment, templates = enroll(party, [0])
    for change, slot in ((segment.add, 0), (segment.subtract, 1), (segment.add, segment.capacity), (segment.add, -1)):
        with pytest.raises(InvalidArgumentError) as refused:
            change(templates[0], slot)
        assert refused.value.reason is Reason.INVALID_FIELD
    segment.add(templates[0], 1)


def test_a_probe_of_another_space_cannot_search(party: Party):
    segment, _ = enroll(party, [0])
    other = TemplateSpace(12, Metric.SQUARED_EUCLIDEAN)
    prepared = party.comparer.prepare_probe(party.encryptor.encrypt(PROBE, other, TemplateUse.PLAINTEXT_PROBE), other)
    with pytest.raises(InvalidArgumentError) as refused:
        party.comparer.search(prepared, [segment], [np.array([0])])
    assert refused.value.reason is Reason.WRONG_DIMENSION


def test_a_segment_with_a_slot_beyond_its_capacity_is_refused(paillier: Party):
    segment, _ = enroll(paillier, [0])
    data = bytearray(segment.to_bytes())
    position_bytes = -(-segment.capacity // 8)
    assert segment.capacity % 8
    data[32 + position_bytes - 1] |= 0x80
    with pytest.raises(InvalidCiphertextError) as refused:
        paillier.comparer.segment_from_bytes(bytes(data), SPACE)
    assert refused.value.reason is Reason.MALFORMED_CIPHERTEXT


def test_packing_does_not_lose_templates_in_the_highest_slot(party: Party):
    capacity = party.comparer.new_segment(SPACE).capacity
    segment, _ = enroll(party, [capacity - 1, 0])
    scores = party.decrypter.decrypt_integers(search(party, segment, [0, capacity - 1]), SPACE, 2)
    assert scores == integer_scores(FACES[[1, 0]], PROBE, SPACE)
