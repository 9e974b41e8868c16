"""Templates of the same person under two keys cannot be told from those of different people, even decrypted.

The attacker has everything but the renewal seeds: the embeddings behind the templates of both keys, in the clear. Each
of 200 pairs of keys has its own seeds and one photograph of each person on each side. With the photographs of 9 people
that is n = 1800 mated and 14400 non-mated scores.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.faces import labelled_faces
from tests.unit.crypto.linkability import d_sys, d_sys_of
from veilface.crypto.renewal import OrthogonalTransform
from veilface.embedding.domain.image.decoding import ImageLimits, decode_image
from veilface.embedding.domain.normalization import l2_normalize
from veilface.embedding.models.building import build_pipelines
from veilface.embedding.settings import DEFAULT_PIPELINE

PAIRS_OF_KEYS = 200
PERMUTATIONS = 200

Matrix = NDArray[np.float64]
Transform = Callable[[Matrix, str], Matrix]


@pytest.fixture(scope="module")
def people() -> list[Matrix]:
    """The normalized embeddings of every person's photographs."""
    pipeline = build_pipelines((DEFAULT_PIPELINE,), Path.home(), 1).default

    def embed(path: Path) -> Matrix:
        (face,) = pipeline.finder.find(decode_image(path.read_bytes(), ImageLimits()))
        return l2_normalize(pipeline.embedder.embed(face.aligned))

    return [np.array([embed(path) for path in photographs]) for photographs in labelled_faces().people]


def renewed(embeddings: Matrix, key: str) -> Matrix:
    seed = hashlib.sha256(key.encode()).digest()
    return OrthogonalTransform(seed, embeddings.shape[1]).apply(embeddings)


def renewed_in_half(embeddings: Matrix, key: str) -> Matrix:
    """What a careless transform would do: it leaves every second coordinate as it is."""
    result = embeddings.copy()
    result[:, ::2] = renewed(np.ascontiguousarray(embeddings[:, ::2]), key)
    return result


def scores(people: list[Matrix], transform: Transform, *, same_key: bool) -> list[Matrix]:
    """The cosines of everybody's template under one key with everybody's under another, for every pair of keys."""
    random = np.random.default_rng(20260101)
    matrices = []
    for number in range(PAIRS_OF_KEYS):
        first, second = (np.array([random.choice(photographs) for photographs in people]) for _ in range(2))
        other_key = f"key {number} a" if same_key else f"key {number} b"
        matrices.append(transform(first, f"key {number} a") @ transform(second, other_key).T)
    return matrices


def null(matrices: list[Matrix]) -> float:
    """The 95th percentile of D_sys when who is who is drawn by lot."""
    random = np.random.default_rng(20260102)
    return float(np.quantile([d_sys_of(matrices, random) for _ in range(PERMUTATIONS)], 0.95))


def test_templates_of_a_person_under_two_keys_are_no_more_linkable_than_by_chance(people: list[Matrix]) -> None:
    matrices = scores(people, renewed, same_key=False)
    assert d_sys_of(matrices) <= null(matrices)


def test_under_the_same_key_they_are_linkable(people: list[Matrix]) -> None:
    matrices = scores(people, renewed, same_key=True)
    assert d_sys_of(matrices) > 0.95
    assert null(matrices) < 0.1


def test_a_transform_that_hides_only_half_would_be_noticed(people: list[Matrix]) -> None:
    matrices = scores(people, renewed_in_half, same_key=False)
    assert d_sys_of(matrices) > 3 * null(matrices)


def test_the_measure_is_one_for_scores_that_never_overlap_and_near_zero_for_the_same_distribution() -> None:
    random = np.random.default_rng(7)
    low, high = random.normal(0, 1, 20_000), random.normal(20, 1, 20_000)
    assert d_sys(high, low) == pytest.approx(1)
    assert d_sys(random.normal(0, 1, 20_000), low) < 0.03


def test_the_measure_of_two_normal_distributions_is_what_the_integral_says() -> None:
    # The integral of (p - q)+ / (p + q) * p over the line, with p = N(1, 1) and q = N(0, 1), by Simpson's rule.
    x = np.linspace(-12, 12, 4801)
    p, q = (np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (1, 0))
    weights = np.where(np.arange(x.size) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    expected = float(np.sum(weights * np.clip(p - q, 0, None) / (p + q) * p) * (x[1] - x[0]) / 3)
    random = np.random.default_rng(8)
    measured = d_sys(random.normal(1, 1, 200_000), random.normal(0, 1, 200_000))
    assert measured == pytest.approx(expected, abs=0.01)
