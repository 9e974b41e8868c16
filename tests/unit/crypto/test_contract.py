"""Every scheme behind the same contract, against numpy, through the registries that the services use."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.embedded_faces import embeddings_in_the_clear
from tests.faces import LabelledFaces, labelled_faces
from tests.schemes import RESEARCH_PROFILES, SchemeCase, scheme_cases
from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import (
    Metric,
    PublicMaterial,
    Scheme,
    ScoreDecrypter,
    TemplateComparer,
    TemplateEncryptor,
    TemplateSpace,
    TemplateUse,
)
from veilface.crypto.public.registry import load_comparer, load_encryptor, load_segment_encryptor, score_tolerance
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.registry import generate_key, load_decrypter, load_reencrypter
from veilface.embedding.settings import DEFAULT_PIPELINE
from veilface.keys.domain.thresholds import ThresholdTable

DIMENSIONS = (16, 100)


@dataclass(frozen=True)
class Party:
    """Every role under one key version."""

    case: SchemeCase
    generated: GeneratedKey
    material: PublicMaterial
    encryptor: TemplateEncryptor
    comparer: TemplateComparer
    decrypter: ScoreDecrypter

    def reference(self, embedding: NDArray[np.float64], space: TemplateSpace) -> bytes:
        return self.encryptor.encrypt(embedding, space, TemplateUse.REFERENCE)

    def probe(self, embedding: NDArray[np.float64], space: TemplateSpace) -> bytes:
        return self.encryptor.encrypt(embedding, space, self.case.probe_use)

    def tolerance(self, space: TemplateSpace) -> float:
        return score_tolerance(self.case.scheme, self.case.profile, space)

    def score(self, reference: bytes, probe: bytes, space: TemplateSpace) -> float:
        return float(self.decrypter.decrypt(self.comparer.compare(reference, probe, space), space, 1)[0])


@lru_cache(maxsize=2)
def party_of(case: SchemeCase, version: int = 1) -> Party:
    """A key version with everyone who uses it; large evaluation keys are not kept for long."""
    generated = generate_key(case.scheme, case.profile)
    material = PublicMaterial(
        case.scheme,
        case.profile,
        f"keys/test/versions/{version}",
        generated.public_key,
        generated.evaluation_keys,
        plaintext_probe_allowed=case.is_additive,
    )
    return Party(
        case,
        generated,
        material,
        load_encryptor(material),
        load_comparer(material),
        load_decrypter(case.scheme, case.profile, generated.secret_key),
    )


@pytest.fixture(scope="module", params=scheme_cases())
def party(request: pytest.FixtureRequest) -> Party:
    return party_of(request.param)


def embeddings(count: int, dimension: int, seed: int = 5) -> NDArray[np.float64]:
    """Random unit vectors, shape (count, dimension)."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def in_units_of(metric: Metric, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores of unit vectors with these cosines."""
    return cosines if metric is Metric.COSINE else 2 - 2 * cosines


def search(
    party: Party, references: NDArray[np.float64], probes: NDArray[np.float64], space: TemplateSpace
) -> NDArray[np.float64]:
    """The scores of every reference against every probe, shape (probes, references), by the scheme's fastest way."""
    templates = [party.reference(reference, space) for reference in references]
    if not party.comparer.supports_search:
        queries = [party.probe(probe, space) for probe in probes]
        return np.array([[party.score(template, query, space) for template in templates] for query in queries])
    segment = party.comparer.new_segment(space)
    segment.add_many(templates, range(len(templates)))
    slots = [np.arange(len(templates))]
    scores = []
    for probe in probes:
        prepared = party.comparer.prepare_probe(party.probe(probe, space), space, party.case.probe_use)
        (response,) = party.comparer.search(prepared, [segment], slots)
        scores.append(party.decrypter.decrypt(response, space, len(templates)))
    return np.array(scores)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_cosine_is_numpys(party: Party, dimension: int) -> None:
    space = TemplateSpace(dimension)
    one, other = embeddings(2, dimension)
    for a, b in ((one, other), (one, one), (one, -one)):
        score = party.score(party.reference(a, space), party.probe(b, space), space)
        assert score == pytest.approx(float(a @ b), abs=party.tolerance(space))


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_squared_distance_is_numpys(party: Party, dimension: int) -> None:
    space = TemplateSpace(dimension, Metric.SQUARED_EUCLIDEAN)
    # Raw embeddings are scaled to a norm of at most 1, and need not reach it.
    one, other = embeddings(2, dimension) * np.array([[0.9], [0.4]])
    for a, b in ((one, other), (one, one), (one, -one)):
        score = party.score(party.reference(a, space), party.probe(b, space), space)
        assert score == pytest.approx(float(((a - b) ** 2).sum()), abs=party.tolerance(space))


@pytest.mark.parametrize("metric", list(Metric))
def test_a_search_is_numpys(party: Party, metric: Metric) -> None:
    space = TemplateSpace(16, metric)
    references, probes = embeddings(5, 16, seed=1), embeddings(2, 16, seed=2)
    expected = in_units_of(metric, probes @ references.T)
    assert search(party, references, probes, space) == pytest.approx(expected, abs=party.tolerance(space))


@pytest.mark.parametrize("metric", list(Metric))
def test_a_segment_encrypted_whole_is_searched_like_one_of_templates(party: Party, metric: Metric) -> None:
    space = TemplateSpace(16, metric)
    references, probe = embeddings(4, 16, seed=1), embeddings(1, 16, seed=2)[0]
    if not party.case.searches_packed:
        with pytest.raises(FailedPreconditionError) as refused:
            load_segment_encryptor(party.material)
        assert refused.value.reason is Reason.UNSUPPORTED_BY_SCHEME
        return
    encryptor = load_segment_encryptor(party.material)
    segment = party.comparer.segment_from_bytes(encryptor.encrypt(references.astype(np.float32), space), space)
    prepared = party.comparer.prepare_probe(party.probe(probe, space), space, party.case.probe_use)
    (response,) = party.comparer.search(prepared, [segment], [np.arange(4)])
    scores = party.decrypter.decrypt(response, space, 4)
    assert scores == pytest.approx(in_units_of(metric, references @ probe), abs=party.tolerance(space))
    assert encryptor.capacity(space) == segment.capacity


def test_a_slot_that_is_emptied_leaves_the_others_as_they_are(party: Party) -> None:
    space = TemplateSpace(16)
    references, probe = embeddings(3, 16, seed=1), embeddings(1, 16, seed=2)[0]
    if not party.case.searches_packed:
        assert not party.comparer.supports_search
        with pytest.raises(InvalidArgumentError) as refused:
            party.comparer.new_segment(space)
        assert refused.value.reason is Reason.UNSUPPORTED_BY_SCHEME
        return
    templates = [party.reference(reference, space) for reference in references]
    segment = party.comparer.new_segment(space)
    segment.add_many(templates, [0, 1, 2])
    segment.subtract(templates[1], 1)
    restored = party.comparer.segment_from_bytes(segment.to_bytes(), space)
    prepared = party.comparer.prepare_probe(party.probe(probe, space), space, party.case.probe_use)
    (response,) = party.comparer.search(prepared, [restored], [np.array([0, 2])])
    scores = party.decrypter.decrypt(response, space, 2)
    assert scores == pytest.approx(references[[0, 2]] @ probe, abs=party.tolerance(space))


def test_a_moved_template_scores_as_before_under_the_new_version_only(party: Party) -> None:
    space = TemplateSpace(16)
    reference, probe = embeddings(2, 16)
    target = party_of(party.case, version=2)
    template = party.reference(reference, space)
    secret_key = bytearray(party.generated.secret_key)
    reencrypter = load_reencrypter(party.case.scheme, party.case.profile, secret_key, target.material)

    moved = reencrypter.reencrypt_template(template, space, TemplateUse.REFERENCE)
    reencrypter.wipe()

    target.comparer.check_template(moved, space, TemplateUse.REFERENCE)
    score = target.score(moved, target.probe(probe, space), space)
    assert score == pytest.approx(float(reference @ probe), abs=party.tolerance(space))
    # A key version that the template has left cannot read it: an error, or numbers that have nothing to do with it.
    stale = [stale_score(party, moved, other, space) for other in (probe, -probe)]
    true = [float(reference @ probe), -float(reference @ probe)]
    assert np.abs(np.subtract(stale, true)).max() > party.tolerance(space)


def stale_score(party: Party, moved: bytes, probe: NDArray[np.float64], space: TemplateSpace) -> float:
    """What the version that a template has left makes of it; infinite if it refuses to."""
    try:
        return party.score(moved, party.probe(probe, space), space)
    except InvalidCiphertextError:
        return float("inf")


@pytest.mark.parametrize("cut", [1, 33])
def test_what_is_cut_short_is_refused(party: Party, cut: int) -> None:
    space = TemplateSpace(16)
    embedding = embeddings(1, 16)[0]
    reference, probe = party.reference(embedding, space), party.probe(embedding, space)
    score = party.comparer.compare(reference, probe, space)
    assert party.decrypter.decrypt(score, space, 1) == pytest.approx([1.0], abs=party.tolerance(space))
    for check in (
        lambda: party.comparer.check_template(reference[:-cut], space, TemplateUse.REFERENCE),
        lambda: party.comparer.check_template(probe[: len(probe) - min(cut, 8)], space, party.case.probe_use),
        lambda: party.comparer.compare(reference[:-cut], probe, space),
        lambda: party.decrypter.decrypt(score[:-cut], space, 1),
    ):
        with pytest.raises(InvalidCiphertextError) as refused:
            check()
        assert refused.value.reason is Reason.WRONG_SIZE


def test_a_template_of_another_space_or_use_is_refused(party: Party) -> None:
    space, use = TemplateSpace(16), TemplateUse.REFERENCE
    reference = party.reference(embeddings(1, 16)[0], space)
    party.comparer.check_template(reference, space, use)
    with pytest.raises(InvalidCiphertextError):
        party.comparer.check_template(reference, TemplateSpace(32), use)
    with pytest.raises(InvalidCiphertextError):
        party.comparer.check_template(reference, TemplateSpace(16, Metric.SQUARED_EUCLIDEAN), use)
    with pytest.raises(InvalidCiphertextError):
        party.comparer.check_template(reference, space, party.case.probe_use)


def test_a_template_is_no_score(party: Party) -> None:
    space = TemplateSpace(16)
    reference = party.reference(embeddings(1, 16)[0], space)
    with pytest.raises(InvalidCiphertextError):
        party.decrypter.decrypt(reference, space, 1)


def test_an_embedding_that_is_not_normalised_is_refused(party: Party) -> None:
    space = TemplateSpace(16)
    embedding = embeddings(1, 16)[0]
    for wrong in (2 * embedding, 0.5 * embedding, np.full(16, np.nan)):
        with pytest.raises(InvalidArgumentError) as refused:
            party.reference(wrong, space)
        assert refused.value.reason is Reason.EMBEDDING_OUT_OF_RANGE
    with pytest.raises(InvalidArgumentError) as refused:
        party.reference(embedding[:15], space)
    assert refused.value.reason is Reason.WRONG_DIMENSION


def test_a_probe_that_the_scheme_cannot_compare_is_refused(party: Party) -> None:
    space, embedding = TemplateSpace(16), embeddings(1, 16)[0]
    unsupported = TemplateUse.PROBE if party.case.is_additive else TemplateUse.PLAINTEXT_PROBE
    if party.case.scheme is Scheme.CKKS_PACKED:
        # The search engine compares both kinds.
        probe = party.encryptor.encrypt(embedding, space, unsupported)
        party.comparer.check_template(probe, space, unsupported)
        return
    with pytest.raises(InvalidArgumentError) as refused:
        party.encryptor.encrypt(embedding, space, unsupported)
    assert refused.value.reason is Reason.UNSUPPORTED_BY_SCHEME


@pytest.mark.parametrize(("scheme", "profile"), RESEARCH_PROFILES)
def test_80_bits_are_for_research_only(scheme: Scheme, profile: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        generate_key(scheme, profile)
    assert refused.value.reason is Reason.INSECURE_PARAMETERS
    assert generate_key(scheme, profile, research=True).public_key


@pytest.fixture(scope="module")
def faces() -> LabelledFaces:
    return labelled_faces()


@pytest.fixture(scope="module")
def photographed(faces: LabelledFaces) -> Mapping[Path, NDArray[np.float64]]:
    """The embedding of every labelled photograph, L2-normalised float64."""
    return embeddings_in_the_clear(faces)


@pytest.mark.parametrize("metric", list(Metric))
def test_every_decision_on_labelled_pairs_is_the_plaintext_decision(
    party: Party,
    metric: Metric,
    faces: LabelledFaces,
    photographed: Mapping[Path, NDArray[np.float64]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    threshold = ThresholdTable.load(None).resolve(DEFAULT_PIPELINE, metric, "", ()).value
    cosines = np.array([photographed[pair.first] @ photographed[pair.second] for pair in faces.pairs])
    plain = in_units_of(metric, cosines)
    encrypted = pair_scores(party, metric, faces, photographed)
    tolerance = party.tolerance(TemplateSpace(len(next(iter(photographed.values()))), metric))
    near = np.abs(plain - threshold) <= tolerance
    # The smaller a distance, the more alike.
    sign = 1 if metric is Metric.COSINE else -1
    decided = sign * encrypted >= sign * threshold
    different = decided != (sign * plain >= sign * threshold)
    with capsys.disabled():
        print(
            f"\n{party.case.profile}, {metric}: {len(decided)} pairs, {different.sum()} decided unlike plaintext, "
            f"{near.sum()} within {tolerance:.1e} of the threshold; largest error {np.abs(encrypted - plain).max():.1e}"
        )
    assert not (different & ~near).any()
    assert np.abs(encrypted - plain).max() <= tolerance
    # Both answers occur, so neither is given blindly.
    assert decided.any()
    assert not decided.all()


def pair_scores(
    party: Party, metric: Metric, faces: LabelledFaces, photographed: Mapping[Path, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The score of each labelled pair: from one search per photograph, or one by one where there is no search."""
    number = {path: position for position, path in enumerate(faces.photographs)}
    vectors = np.array([photographed[path] for path in faces.photographs])
    space = TemplateSpace(vectors.shape[1], metric)
    pairs = [(number[pair.first], number[pair.second]) for pair in faces.pairs]
    if party.case.searches_packed:
        scores = search(party, vectors, vectors, space)
        return np.array([scores[second, first] for first, second in pairs])
    references = [party.reference(vector, space) for vector in vectors]
    probes = [party.probe(vector, space) for vector in vectors]
    return np.array([party.score(references[first], probes[second], space) for first, second in pairs])
