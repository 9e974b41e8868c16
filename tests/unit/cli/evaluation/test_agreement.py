import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.evaluation.labelled import labelled, labelled_scores
from veilface.cli.evaluation.agreement import agreement_at
from veilface.cli.evaluation.encrypted import EncryptedDecisions, EncryptedRun, evaluation_policy
from veilface.cli.evaluation.metrics import area_under_curve
from veilface.cli.evaluation.operating_points import OperatingPoint
from veilface.cli.evaluation.scores import LabelledScores
from veilface.cli.evaluation.staircase import STEPS, Staircase, passed_threshold
from veilface.client.faces import FaceSelection
from veilface.crypto.contract import Metric, Scheme
from veilface.keys.domain.policy import LARGEST_POLICY_THRESHOLDS, Release
from veilface.keys.domain.thresholds import ThresholdTable

TOLERANCE = 1e-3
SCORES = np.array([0.10, 0.50, 0.5004, 0.90])


def decisions(passed: list[float]) -> EncryptedDecisions:
    return EncryptedDecisions((), np.array(passed), "a profile")


def run_with(staircase: Staircase, metric: Metric = Metric.COSINE, scheme: Scheme = Scheme.CKKS_PACKED) -> EncryptedRun:
    return EncryptedRun(
        pipeline="m",
        metric=metric,
        scheme=scheme,
        profile="",
        selection=FaceSelection.EXACTLY_ONE,
        points=[OperatingPoint(name, 0.5, "a test") for name in ("strict", "balanced", "lenient")],
        staircase=staircase,
        settings={},
    )


def test_equal_decisions_agree() -> None:
    found = agreement_at(SCORES, decisions([-np.inf, 0.4, 0.4, 0.8]), 0.4, TOLERANCE)
    assert (found.compared, found.different) == (4, 0)


def test_a_decision_that_encryption_turned_is_found() -> None:
    # The control of the test above: the first pair passes although its score is far below.
    found = agreement_at(SCORES, decisions([0.4, 0.4, 0.4, 0.8]), 0.4, TOLERANCE)
    assert (found.compared, found.different) == (4, 1)


def test_a_turned_decision_within_the_tolerance_is_told_apart() -> None:
    found = agreement_at(SCORES, decisions([-np.inf, 0.5003, -np.inf, 0.8]), 0.5003, TOLERANCE)
    assert (found.compared, found.different) == (2, 0)
    assert (found.within_tolerance, found.different_within_tolerance) == (2, 2)


@settings(deadline=None)
@given(labelled_scores)
def test_all_scores_lie_between_the_outer_thresholds_with_room_for_errors(scores: LabelledScores) -> None:
    staircase = Staircase.over(scores, TOLERANCE)
    assert staircase.thresholds[0] <= scores.similarities.min() - 2 * TOLERANCE + 1e-12
    assert staircase.thresholds[-1] >= scores.similarities.max() + 2 * TOLERANCE - 1e-12
    assert (np.diff(staircase.thresholds) > 0).all()
    assert set(staircase.even) <= set(staircase.thresholds)


@settings(deadline=None)
@given(labelled_scores)
def test_thresholds_passed_have_the_auc_of_the_scores_themselves(scores: LabelledScores) -> None:
    passed = passed_threshold(scores.similarities, Staircase.over(scores, TOLERANCE).thresholds)
    assert area_under_curve(LabelledScores(passed, scores.is_mated)) == pytest.approx(area_under_curve(scores))


def test_the_strictest_passed_threshold_is_the_largest_below() -> None:
    thresholds = np.array([0.0, 0.5, 1.0])
    assert passed_threshold(np.array([-1.0, 0.0, 0.7, 2.0]), thresholds).tolist() == [-np.inf, 0.0, 0.5, 1.0]


@pytest.mark.parametrize("metric", Metric)
def test_the_key_service_resolves_every_threshold_of_the_policy(metric: Metric) -> None:
    sign = 1 if metric is Metric.COSINE else -1
    ladder = [sign * each / 500 for each in range(400)]
    scores = labelled(ladder[::2], ladder[1::2])
    staircase = Staircase.over(scores, TOLERANCE)
    policy = evaluation_policy(run_with(staircase, metric))
    assert policy.release is Release.BANDED
    assert STEPS < len(policy.thresholds) <= LARGEST_POLICY_THRESHOLDS
    # As a service for research has it, which the evaluation starts.
    resolved = ThresholdTable([], LARGEST_POLICY_THRESHOLDS).resolve("m", metric, "balanced", policy.thresholds)
    strictness = [sign * value for _, value in resolved.bands]
    assert strictness == sorted(strictness, reverse=True)
    assert len(resolved.bands) == len(policy.thresholds)


@settings(deadline=None)
@given(st.sampled_from(list(Scheme)))
def test_only_additive_schemes_may_show_the_probe(scheme: Scheme) -> None:
    policy = evaluation_policy(run_with(Staircase.over(labelled([0.5], [0.1]), TOLERANCE), scheme=scheme))
    assert policy.plaintext_probe == (scheme not in (Scheme.CKKS_PACKED, Scheme.CKKS_TENSEAL))
