import numpy as np
import pytest
from hypothesis import given, settings

from tests.unit.cli.evaluation.labelled import labelled, labelled_scores, similarities
from veilface.cli.evaluation.metrics import (
    area_under_curve,
    equal_error_rate,
    error_rates,
    rank_one,
    rates_at,
    sensitivity_index,
    separation,
)
from veilface.cli.evaluation.scores import LabelledScores, pair_similarities
from veilface.crypto.contract import Metric

# By hand: of 4 x 5 comparisons of a mated with a non-mated pair 17 are in order and one is a tie.
MATED = (0.9, 0.8, 0.6, 0.4)
NON_MATED = (0.7, 0.4, 0.3, 0.2, 0.1)


def test_auc_counts_ordered_pairs_and_half_of_the_ties() -> None:
    # 0.9, 0.8: 5 each; 0.6: 4; 0.4: 3 and one tie.
    assert area_under_curve(labelled(MATED, NON_MATED)) == pytest.approx((5 + 5 + 4 + 3 + 0.5) / 20)


def test_a_score_at_the_threshold_matches() -> None:
    rates = error_rates(labelled(MATED, NON_MATED), 0.4)
    assert (rates.false_matches.events, rates.false_matches.trials) == (2, 5)
    assert (rates.false_non_matches.events, rates.false_non_matches.trials) == (0, 4)
    assert rates.accuracy == pytest.approx(7 / 9)


def test_errors_above_and_below_all_scores() -> None:
    everything, nothing = (error_rates(labelled(MATED, NON_MATED), threshold) for threshold in (-2.0, 2.0))
    assert (everything.false_matches.value, everything.false_non_matches.value) == (1.0, 0.0)
    assert (nothing.false_matches.value, nothing.false_non_matches.value) == (0.0, 1.0)


def test_eer_is_where_both_errors_are_equal() -> None:
    # From 0.4 upward 2 of 5 and 0 of 4 are wrong, from 0.6 upward 1 of 5 and 1 of 4: on the line between, 2/9 and 2/9.
    assert equal_error_rate(labelled(MATED, NON_MATED)) == pytest.approx(2 / 9)


def test_eer_of_two_step_functions_is_the_height_at_which_they_cross() -> None:
    # FNMR stays at 1 of 4 while FMR falls from 2 of 5 to 1 of 5.
    assert equal_error_rate(labelled([0.9, 0.8, 0.7, 0.1], [0.85, 0.5, 0.3, 0.2, 0.0])) == pytest.approx(1 / 4)


def test_d_prime_is_the_distance_of_means_in_deviations() -> None:
    # Means 2 and -1, variances 1 and 4: 3 / sqrt(2.5).
    assert sensitivity_index(np.array([1.0, 3.0]), np.array([-3.0, 1.0])) == pytest.approx(3 / np.sqrt(2.5))


def test_d_prime_without_any_spread_is_unknown() -> None:
    assert separation(labelled([0.5, 0.5], [0.1])).d_prime is None


def test_pairs_that_are_apart_have_no_error() -> None:
    measured = separation(labelled([0.9, 0.8], [0.3, 0.2, 0.1]))
    assert (measured.auc, measured.eer) == (1.0, 0.0)


@settings(deadline=None)
@given(labelled_scores)
def test_auc_is_the_share_of_all_comparisons(scores: LabelledScores) -> None:
    difference = scores.mated[:, None] - scores.non_mated[None, :]
    assert area_under_curve(scores) == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean())


@settings(deadline=None)
@given(labelled_scores)
def test_exchanged_labels_mirror_the_auc(scores: LabelledScores) -> None:
    exchanged = LabelledScores(scores.similarities, ~scores.is_mated)
    assert area_under_curve(exchanged) == pytest.approx(1 - area_under_curve(scores))


@settings(deadline=None)
@given(labelled_scores, similarities)
def test_many_thresholds_at_once_agree_with_one_at_a_time(scores: LabelledScores, threshold: float) -> None:
    (fmr,), (fnmr,) = rates_at(scores, np.array([threshold]))
    rates = error_rates(scores, threshold)
    assert fmr == pytest.approx(rates.false_matches.value)
    assert fnmr == pytest.approx(rates.false_non_matches.value)


@settings(deadline=None)
@given(labelled_scores)
def test_the_eer_is_at_most_the_larger_error_at_any_threshold(scores: LabelledScores) -> None:
    fmr, fnmr = rates_at(scores, np.unique(scores.similarities))
    assert equal_error_rate(scores) <= np.maximum(fmr, fnmr).min() + 1e-12


def test_rank_one_counts_photographs_whose_nearest_is_the_same_person() -> None:
    angles = np.array([0.0, 0.1, 1.0, 1.9, 1.15, 3.0])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # b's photographs are at 1.0 and 1.9; nearest to either is c at 1.15. d has no other photograph.
    rate = rank_one(embeddings, ["a", "a", "b", "b", "c", "d"])
    assert (rate.events, rate.trials) == (2, 4)


@pytest.mark.parametrize("metric", Metric)
def test_similarities_of_pairs_are_those_of_their_rows(metric: Metric) -> None:
    random = np.random.default_rng(5)
    rows = random.normal(size=(40, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    first, second = random.integers(0, 40, 20_000), random.integers(0, 40, 20_000)
    found = pair_similarities(rows, first, second, metric)
    cosines = (rows @ rows.T)[first, second]
    expected = cosines if metric is Metric.COSINE else 2 * cosines - 2
    assert found == pytest.approx(expected, abs=1e-12)
