from collections.abc import Callable

import numpy as np
import pytest
import tenseal as ts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.crypto.ckks_tenseal.conftest import Party, make_party, pair_with_cosine
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.ckks_tenseal import wire
from veilface.crypto.public.ckks_tenseal.ciphertexts import residues_of
from veilface.crypto.public.ckks_tenseal.min_max import min_max_normalised
from veilface.crypto.public.ckks_tenseal.profiles import PROFILES
from veilface.crypto.public.registry import score_tolerance
from veilface.crypto.renewal import OrthogonalTransform
from veilface.crypto.secret.ckks_tenseal.factory import load_reencrypter
from veilface.crypto.secret.ckks_tenseal.private_context import PrivateContext

# What a score of 512 dimensions may be off by; 256-defensive and 128-offensive are the imprecise ones, as documented.
LARGEST_TOLERANCES = {
    "ckks-tenseal-128-defensive": 1e-6,
    "ckks-tenseal-128-offensive": 5e-4,
    "ckks-tenseal-192-defensive": 1e-6,
    "ckks-tenseal-192-offensive": 1e-7,
    "ckks-tenseal-256-defensive": 5e-4,
    "ckks-tenseal-256-offensive": 1e-7,
}
# Its keys have 350 MB.
LARGE = "ckks-tenseal-128-offensive"
NAMES = [pytest.param(name, marks=pytest.mark.full if name == LARGE else ()) for name in PROFILES]


def compared(party: Party, a: np.ndarray, b: np.ndarray, space: TemplateSpace) -> float:
    score = party.comparer.compare(
        party.encryptor.encrypt(a, space, TemplateUse.REFERENCE),
        party.encryptor.encrypt(b, space, TemplateUse.PROBE),
        space,
    )
    return float(party.decrypter.decrypt(score, space, 1)[0])


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("name", NAMES)
def test_every_profile_gives_the_score_of_float64(party_of: Callable[[str], Party], name: str, metric: Metric) -> None:
    a, b = pair_with_cosine(512, 0.9, seed=1)
    expected = a @ b if metric is Metric.COSINE else ((a - b) ** 2).sum()
    space = TemplateSpace(512, metric)
    tolerance = score_tolerance(Scheme.CKKS_TENSEAL, name, space)
    # A key of the large one is not kept for other tests.
    party = make_party(name) if name == LARGE else party_of(name)
    assert compared(party, a, b, space) == pytest.approx(expected, abs=tolerance)
    assert tolerance <= LARGEST_TOLERANCES[name]


@pytest.mark.parametrize("metric", list(Metric))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dimension=st.integers(2, 4096), cosine=st.floats(-1, 1), seed=st.integers(0, 2**32))
def test_any_dimension_and_cosine_is_right(
    party: Party, metric: Metric, dimension: int, cosine: float, seed: int
) -> None:
    a, b = pair_with_cosine(dimension, cosine, seed)
    expected = cosine if metric is Metric.COSINE else 2 - 2 * cosine
    space = TemplateSpace(dimension, metric)
    tolerance = score_tolerance(Scheme.CKKS_TENSEAL, party.profile.name, space)
    assert compared(party, a, b, space) == pytest.approx(expected, abs=tolerance)


def test_one_dimension_and_zeros_are_right(party: Party) -> None:
    assert compared(party, np.array([1.0]), np.array([-1.0]), TemplateSpace(1)) == pytest.approx(-1, abs=1e-5)
    space = TemplateSpace(3, Metric.SQUARED_EUCLIDEAN)
    assert compared(party, np.zeros(3), np.array([0.0, 0.5, 0.0]), space) == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize("dimension", [100, 128])
def test_every_slot_of_a_result_holds_the_score_and_nothing_else(party: Party, dimension: int) -> None:
    space = TemplateSpace(dimension)
    a, b = pair_with_cosine(dimension, 0.3, seed=2)
    score = party.comparer.compare(
        party.encryptor.encrypt(a, space, TemplateUse.REFERENCE),
        party.encryptor.encrypt(b, space, TemplateUse.PROBE),
        space,
    )
    secret = PrivateContext(party.profile, party.generated.secret_key)
    slots = secret.decrypt(wire.read(party.profile, wire.Kind.SCORE, space, score))
    assert np.abs(slots - 0.3).max() < 1e-4


def test_without_padding_the_other_slots_of_tenseals_dot_hold_partial_sums(party: Party) -> None:
    context = ts.context_from(party.generated.evaluation_keys)
    public = ts.context_from(party.generated.public_key)
    a, b = pair_with_cosine(100, 0.3, seed=2)
    vectors = [ts.ckks_vector_from(context, ts.ckks_vector(public, v.tolist()).serialize()) for v in (a, b)]
    result = vectors[0].dot(vectors[1])
    secret = PrivateContext(party.profile, party.generated.secret_key)
    slots = secret.decrypt(residues_of(result, party.profile, len(party.profile.score_primes)))
    assert np.abs(slots - 0.3).max() > 1e-2


def test_our_templates_are_tenseal_vectors(party: Party) -> None:
    space = TemplateSpace(4)
    embedding = np.array([0.5, -0.5, 0.5, -0.5])
    template = party.encryptor.encrypt(embedding, space, TemplateUse.REFERENCE)
    secret = PrivateContext(party.profile, party.generated.secret_key)
    slots = secret.decrypt(wire.read(party.profile, wire.Kind.REFERENCE, space, template))
    assert slots[:4] == pytest.approx(embedding, abs=1e-4)


def test_equal_embeddings_have_different_ciphertexts(party: Party) -> None:
    space = TemplateSpace(2)
    embedding = np.array([0.6, 0.8])
    first, second = (party.encryptor.encrypt(embedding, space, TemplateUse.REFERENCE) for _ in range(2))
    assert first != second


def test_there_is_no_search(party: Party) -> None:
    space = TemplateSpace(2)
    assert party.comparer.supports_search is False
    calls = [
        lambda: party.comparer.new_segment(space),
        lambda: party.comparer.segment_from_bytes(b"", space),
        lambda: party.comparer.prepare_probe(b"", space),
        lambda: party.comparer.search(object(), [], []),
        lambda: party.comparer.search_many([], [], []),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError) as refused:
            call()
        assert refused.value.reason is Reason.UNSUPPORTED_BY_SCHEME


def test_a_template_moved_to_another_version_scores_as_before(party: Party) -> None:
    target = make_party(party.profile.name)
    space = TemplateSpace(100)
    a, b = pair_with_cosine(100, 0.7, seed=3)
    seeds = (bytes(range(32)), bytes(range(32, 64)))
    before, after = (OrthogonalTransform(seed, 100) for seed in seeds)
    template = party.encryptor.encrypt(before.apply(a), space, TemplateUse.REFERENCE)
    plain_template = party.encryptor.encrypt(a, space, TemplateUse.REFERENCE)

    renewed = load_reencrypter(party.profile.name, party.generated.secret_key, target.material, seeds)
    plain = load_reencrypter(party.profile.name, party.generated.secret_key, target.material)
    for move, moved_from, query in ((renewed, template, after.apply(b)), (plain, plain_template, b)):
        moved = move.reencrypt_template(moved_from, space, TemplateUse.REFERENCE)
        score = target.comparer.compare(moved, target.encryptor.encrypt(query, space, TemplateUse.PROBE), space)
        assert target.decrypter.decrypt(score, space, 1)[0] == pytest.approx(0.7, abs=1e-4)
        with pytest.raises(InvalidArgumentError):
            move.reencrypt_segment(b"", space, np.array([0]))
        move.wipe()
        with pytest.raises(RuntimeError):
            move.reencrypt_template(moved_from, space, TemplateUse.REFERENCE)


def test_min_max_gives_positive_unit_vectors_and_another_metric() -> None:
    generator = np.random.default_rng(4)
    a, b = generator.normal(size=(2, 128))
    shifted = [min_max_normalised(v, "Facenet") for v in (a, b)]
    assert all(v.min() >= 0 and np.linalg.norm(v) == pytest.approx(1) for v in shifted)
    true = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert abs(true) < 0.4
    assert shifted[0] @ shifted[1] > 0.9
    with pytest.raises(InvalidArgumentError) as refused:
        min_max_normalised(a, "VGG-Face")
    assert refused.value.reason is Reason.UNKNOWN_MODEL
