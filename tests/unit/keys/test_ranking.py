import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from veilface.crypto.contract import Metric
from veilface.keys.domain.ranking import best_matches, matches, most_alike


def oracle(scores: list[float], metric: Metric, threshold: float, top_k: int) -> list[int]:
    if metric is Metric.COSINE:
        passing = [i for i, score in enumerate(scores) if threshold <= score <= 1.01]
        return sorted(passing, key=lambda i: -scores[i])[:top_k]
    passing = [i for i, score in enumerate(scores) if -0.01 <= score <= threshold]
    return sorted(passing, key=lambda i: scores[i])[:top_k]


@given(
    scores=st.lists(
        st.one_of(
            st.floats(-1.2, 1.2, allow_nan=False),
            st.sampled_from([0.25, 0.5, 0.75, float("nan"), float("inf"), -float("inf"), 1e300]),
        ),
        min_size=1,
        max_size=60,
    ),
    metric=st.sampled_from(Metric),
    threshold=st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.9]),
    top_k=st.integers(1, 70),
)
def test_the_best_matches_are_those_of_a_stable_sort(
    scores: list[float], metric: Metric, threshold: float, top_k: int
) -> None:
    assert best_matches(np.array(scores), metric, threshold, top_k).tolist() == oracle(scores, metric, threshold, top_k)


def test_a_score_at_the_threshold_matches() -> None:
    assert matches(np.array([0.93]), Metric.COSINE, 0.93).all()
    assert matches(np.array([0.4]), Metric.SQUARED_EUCLIDEAN, 0.4).all()


@pytest.mark.parametrize("score", [1.02, 5.0, 1e9, float("inf"), float("nan")])
def test_what_no_pair_of_unit_vectors_scores_matches_nobody(score: float) -> None:
    assert not matches(np.array([score]), Metric.COSINE, 0.93).any()


@pytest.mark.parametrize("score", [-0.02, -1e9, float("-inf"), float("nan")])
def test_a_negative_distance_matches_nobody(score: float) -> None:
    assert not matches(np.array([score]), Metric.SQUARED_EUCLIDEAN, 0.4).any()


def test_of_equal_scores_the_first_positions_win() -> None:
    scores = np.full(1000, 0.95)
    assert best_matches(scores, Metric.COSINE, 0.93, 5).tolist() == [0, 1, 2, 3, 4]


def test_a_million_scores_are_ranked_as_a_full_sort_would() -> None:
    scores: NDArray[np.float64] = np.random.default_rng(7).uniform(-1, 1, 1_000_000)
    expected = np.argsort(-scores, kind="stable")[:10]
    assert best_matches(scores, Metric.COSINE, 0.5, 10).tolist() == expected.tolist()


@pytest.mark.parametrize(("metric", "expected"), [(Metric.COSINE, 1), (Metric.SQUARED_EUCLIDEAN, 2)])
def test_the_most_alike_score_depends_on_the_metric(metric: Metric, expected: int) -> None:
    assert most_alike(np.array([0.5, 0.9, 0.1, np.nan]), metric) == expected


@pytest.mark.parametrize("metric", Metric)
def test_of_no_scores_none_is_most_alike(metric: Metric) -> None:
    assert most_alike(np.array([np.nan, np.nan]), metric) is None
