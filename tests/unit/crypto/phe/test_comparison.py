import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.crypto.phe.conftest import Party
from tests.unit.crypto.phe.faces import embeddings, integer_scores
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse

few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("metric", list(Metric))
@few
@given(dimension=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_one_to_one_equals_numpys_integers_exactly(party: Party, metric: Metric, dimension: int, seed: int):
    space = TemplateSpace(dimension, metric)
    reference, probe = embeddings(2, dimension, seed)

    score = party.comparer.compare(
        party.encryptor.encrypt(reference, space, TemplateUse.REFERENCE),
        party.encryptor.encrypt(probe, space, TemplateUse.PLAINTEXT_PROBE),
        space,
    )

    assert party.decrypter.decrypt_integers(score, space, 1) == integer_scores(reference[None], probe, space)


@pytest.mark.parametrize("metric", list(Metric))
@few
@given(dimension=st.integers(1, 40), seed=st.integers(0, 2**32), data=st.data())
def test_a_search_equals_numpys_integers_exactly(
    party: Party, metric: Metric, dimension: int, seed: int, data: st.DataObject
):
    space = TemplateSpace(dimension, metric)
    segments = [party.comparer.new_segment(space) for _ in range(2)]
    capacity = segments[0].capacity
    slots = [
        np.array(sorted(data.draw(st.sets(st.integers(0, capacity - 1), min_size=1, max_size=3)))) for _ in segments
    ]
    references = embeddings(sum(map(len, slots)), dimension, seed)
    probe = embeddings(1, dimension, seed + 1)[0]
    placed = [(segment, int(slot)) for segment, chosen in zip(segments, slots, strict=True) for slot in chosen]
    for (segment, slot), reference in zip(placed, references, strict=True):
        segment.add(party.encryptor.encrypt(reference, space, TemplateUse.REFERENCE), slot)

    prepared = party.comparer.prepare_probe(party.encryptor.encrypt(probe, space, TemplateUse.PLAINTEXT_PROBE), space)
    responses = party.comparer.search(prepared, segments, slots)

    found = [
        score
        for response, chosen in zip(responses, slots, strict=True)
        for score in party.decrypter.decrypt_integers(response, space, len(chosen))
    ]
    assert found == integer_scores(references, probe, space)


@pytest.mark.parametrize(
    ("reference", "probe"),
    [
        ([1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]),
        ([0.0, -1.0, 0.0], [0.0, -1.0, 0.0]),
        ([0.6, -0.8, 0.0], [0.0, 0.0, 1.0]),
        ([1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
    ],
    ids=["opposite", "equal and negative", "orthogonal with zeros", "equal"],
)
@pytest.mark.parametrize("metric", list(Metric))
def test_negative_and_zero_coordinates_give_the_exact_score(
    party: Party, metric: Metric, reference: list[float], probe: list[float]
):
    space = TemplateSpace(3, metric)
    g, q = np.array(reference), np.array(probe)
    score = party.comparer.compare(
        party.encryptor.encrypt(g, space, TemplateUse.REFERENCE),
        party.encryptor.encrypt(q, space, TemplateUse.PLAINTEXT_PROBE),
        space,
    )
    expected = g @ q if metric is Metric.COSINE else float(((g - q) ** 2).sum())
    assert party.decrypter.decrypt(score, space, 1).tolist() == [pytest.approx(expected, abs=1e-12)]


def test_squared_euclidean_takes_embeddings_shorter_than_one(party: Party):
    space = TemplateSpace(2, Metric.SQUARED_EUCLIDEAN)
    zero, short = np.zeros(2), np.array([0.3, -0.4])
    score = party.comparer.compare(
        party.encryptor.encrypt(short, space, TemplateUse.REFERENCE),
        party.encryptor.encrypt(zero, space, TemplateUse.PLAINTEXT_PROBE),
        space,
    )
    assert party.decrypter.decrypt(score, space, 1).tolist() == [pytest.approx(0.25)]


def test_equal_coordinates_have_different_ciphertexts(party: Party):
    ciphertexts = party.encryptor.encrypt_integers([0] * 64)
    assert len(set(ciphertexts)) == 64
    assert {party.private_key.decrypt(ciphertext) for ciphertext in ciphertexts} == {0}


def test_nine_segments_need_two_tiles_of_lanes_and_score_right(paillier: Party):
    space = TemplateSpace(8)
    references = embeddings(9, 8, seed=5)
    probe = embeddings(1, 8, seed=6)[0]
    segments = [paillier.comparer.new_segment(space) for _ in references]
    for segment, reference in zip(segments, references, strict=True):
        segment.add(paillier.encryptor.encrypt(reference, space, TemplateUse.REFERENCE), 3)

    prepared = paillier.comparer.prepare_probe(
        paillier.encryptor.encrypt(probe, space, TemplateUse.PLAINTEXT_PROBE), space
    )
    responses = paillier.comparer.search(prepared, segments, [np.array([3])] * 9)

    scores = [paillier.decrypter.decrypt_integers(response, space, 1)[0] for response in responses]
    assert scores == integer_scores(references, probe, space)
