import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.evaluation.labelled import labelled, labelled_scores
from veilface.cli.evaluation.calibration import (
    Calibrated,
    calibrate,
    source_text,
    threshold_entries,
    threshold_for,
    write_thresholds,
)
from veilface.cli.evaluation.metrics import error_rates
from veilface.cli.evaluation.scores import LabelledScores
from veilface.common.errors import ConfigurationError
from veilface.crypto.contract import Metric
from veilface.keys.domain.thresholds import Threshold, ThresholdTable

MODEL = "Facenet/yunet/deepface"
TODAY = date(2030, 1, 2)
# 1000 non-mated scores 0.000 to 0.999 and mated ones above and between: the threshold for a rate can be read off.
LADDER = labelled([0.9985, 1.5, 1.6], [number / 1000 for number in range(1000)])


def entries(fmr: float, metric: Metric = Metric.COSINE, scores: LabelledScores = LADDER) -> list[Threshold]:
    return threshold_entries(calibrate(scores, fmr, metric), MODEL, metric, "1003 pairs", TODAY)


@pytest.mark.parametrize(("fmr", "threshold"), [(0.1, 0.8995), (0.01, 0.9895), (0.002, 0.9975)])
def test_a_known_threshold_is_found(fmr: float, threshold: float) -> None:
    assert threshold_for(LADDER, fmr) == pytest.approx(threshold)
    assert error_rates(LADDER, threshold_for(LADDER, fmr)).false_matches.value == pytest.approx(fmr)


def test_without_allowed_errors_the_threshold_is_in_the_middle_of_the_gap() -> None:
    assert threshold_for(labelled([0.9, 0.8], [0.4, 0.1]), 0.001) == pytest.approx(0.6)


def test_a_mated_score_ends_the_gap() -> None:
    # Between 0.998, which must not match, and 0.999, which may, lies the mated 0.9985.
    assert threshold_for(LADDER, 0.001) == pytest.approx((0.998 + 0.9985) / 2)


def test_a_non_mated_pair_that_is_most_alike_is_refused_too() -> None:
    scores = labelled([0.5], [0.9, 0.1])
    assert error_rates(scores, threshold_for(scores, 0.001)).false_matches.events == 0


@settings(deadline=None)
@given(labelled_scores, st.floats(1e-6, 0.5))
def test_the_rate_is_kept_and_no_lower_threshold_that_decides_otherwise_keeps_it(
    scores: LabelledScores, fmr: float
) -> None:
    threshold = threshold_for(scores, fmr)
    assert error_rates(scores, threshold).false_matches.value <= fmr + 1e-9
    lower = scores.non_mated[scores.non_mated < threshold]
    assert error_rates(scores, float(lower.max())).false_matches.value > fmr - 1e-9


def test_squared_distances_are_calibrated_in_their_own_unit() -> None:
    # Similarities are distances with the sign changed.
    scores = labelled([-0.1, -0.2], [-0.8, -1.5])
    (strict, _, _) = calibrate(scores, 0.01, Metric.SQUARED_EUCLIDEAN)
    assert strict.threshold == pytest.approx(0.5)


def test_strict_balanced_and_lenient_are_a_factor_of_ten_apart() -> None:
    chosen = {each.name: each for each in calibrate(LADDER, 0.01, Metric.COSINE)}
    assert [chosen[name].rates.false_matches.events for name in ("strict", "balanced", "lenient")] == [1, 10, 100]


def test_a_rate_that_the_pairs_cannot_show_is_marked() -> None:
    strict, balanced, _ = calibrate(LADDER, 0.005, Metric.COSINE)
    assert not strict.is_supported
    assert balanced.is_supported
    assert "too few pairs" in source_text(strict, "pairs")
    assert "too few pairs" not in source_text(balanced, "pairs")


def test_the_source_says_data_counts_and_bounds() -> None:
    (_, balanced, _) = calibrate(labelled([0.9] * 38, [0.1] * 262), 0.01, Metric.COSINE)
    text = source_text(balanced, "300 labelled pairs in faces")
    assert "300 labelled pairs in faces" in text
    assert "false match 0 of 262 (0.00 to 1.398 % at 95 % confidence)" in text
    assert "false non-match 0 of 38 (0.00 to 9.251 % at 95 % confidence)" in text


@pytest.mark.parametrize("metric", Metric)
def test_the_key_service_reads_what_was_written(tmp_path: Path, metric: Metric) -> None:
    path = tmp_path / "thresholds.json"
    written = entries(0.01, metric)
    write_thresholds(path, written)
    table = ThresholdTable.load(path)
    for each in written:
        assert table.resolve(MODEL, metric, each.operating_point, ()).value == each.value


def test_entries_for_other_pipelines_stay_and_those_for_this_one_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    other = Threshold(
        model="other", metric=Metric.COSINE, operating_point="balanced", value=0.1, source="a test", measured=TODAY
    )
    write_thresholds(path, [other, *entries(0.1)])
    write_thresholds(path, entries(0.01))
    table = ThresholdTable.load(path)
    assert table.resolve("other", Metric.COSINE, "", ()).value == 0.1
    assert table.resolve(MODEL, Metric.COSINE, "", ()).value == pytest.approx(0.9895)
    assert len(json.loads(path.read_text())) == 4


def test_a_file_that_holds_something_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text("my notes")
    with pytest.raises(ConfigurationError):
        write_thresholds(path, entries(0.01))
    assert path.read_text() == "my notes"


def test_no_digit_of_a_threshold_is_lost_where_scores_are_close() -> None:
    scores = labelled([0.5 + 1e-9], [0.5])
    threshold = threshold_for(scores, 0.01)
    rates = error_rates(scores, threshold)
    assert (rates.false_matches.events, rates.false_non_matches.events) == (0, 0)
    assert np.isfinite(Calibrated("strict", 0.01, threshold, rates).threshold)
