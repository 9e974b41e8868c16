import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.unit.cli.conftest import Run
from tests.unit.cli.evaluation.labelled import labelled
from veilface.cli.demo.collection import Pair
from veilface.cli.evaluation.dataset import Dataset
from veilface.cli.evaluation.encrypted import EncryptedDecisions
from veilface.cli.evaluation.findings import EncryptedFindings, Evaluation
from veilface.cli.evaluation.metrics import Rate
from veilface.cli.evaluation.operating_points import OperatingPoint, measure_points
from veilface.cli.evaluation.plot import check_plot, draw
from veilface.cli.evaluation.report import document, tables
from veilface.cli.evaluation.staircase import Staircase, passed_threshold
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, Scheme

TOLERANCE = 1e-3


def evaluation(*, encrypted: bool = True, turned: int = 0, metric: Metric = Metric.COSINE) -> Evaluation:
    """Forty pairs of which the first decisions were turned around by a broken encryption."""
    sign = 1 if metric is Metric.COSINE else -1
    random = np.random.default_rng(8)
    mated, others = random.uniform(0.6, 0.9, 15), random.uniform(0.1, 0.65, 25)
    scores = labelled([*mated], [*others]) if sign == 1 else labelled([*(mated - 1)], [*(others - 1)])
    pairs = tuple(Pair(Path("a.jpg"), Path("b.jpg"), bool(each)) for each in scores.is_mated)
    threshold = 0.62 if sign == 1 else 0.38
    points = [OperatingPoint("balanced", threshold, "a test")]
    staircase = Staircase.over(scores, TOLERANCE)
    thresholds = np.union1d(staircase.thresholds, [sign * threshold])
    passed = passed_threshold(scores.similarities, thresholds)
    passed[:turned] = thresholds[0]
    findings = EncryptedFindings(
        scheme=Scheme.CKKS_PACKED,
        decisions=EncryptedDecisions(pairs, passed, "ckks-packed-128"),
        plain=scores,
        thresholds=thresholds,
        tolerance=TOLERANCE,
        seconds=1.5,
    )
    return Evaluation(
        dataset=Dataset("faces", (Path("a.jpg"), Path("b.jpg")), ("a", "b"), pairs),
        failed=[(Path("c.jpg"), InvalidArgumentError(Reason.NO_FACE, "no face"))],
        pipeline="dlib-resnet/hog/chip",
        dimension=128,
        metric=metric,
        scores=scores,
        rank_1=Rate(1, 2),
        points=measure_points(scores, points, metric),
        calibrated=(),
        staircase=staircase,
        encrypted=findings if encrypted else None,
        seconds=2.0,
    )


def text_of(subject: Evaluation) -> str:
    console = Console(file=io.StringIO(), width=160)
    for each in tables(subject):
        console.print(each)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def test_tables_say_that_nothing_changed() -> None:
    text = text_of(evaluation())
    assert "40 of 40 equal" in text
    assert "are equal" in text
    assert "NO_FACE" in text


def test_tables_say_how_many_decisions_changed() -> None:
    text = text_of(evaluation(turned=3))
    assert "37 of 40 equal" in text
    assert "differ" in text


def test_rates_are_shown_with_their_intervals() -> None:
    # Nothing is false between 0.65 and 0.9: 0 of 25 non-mated pairs, at most 13.72 %.
    subject = evaluation(encrypted=False)
    above = measure_points(subject.scores, [OperatingPoint("strict", 0.655, "a test")], Metric.COSINE)
    assert "0.00 % [0.00, 13.72]" in text_of(dataclasses.replace(subject, points=above))


def test_changed_decisions_change_the_verdict() -> None:
    assert evaluation().is_unchanged_by_encryption
    assert evaluation(encrypted=False).is_unchanged_by_encryption
    assert not evaluation(turned=1).is_unchanged_by_encryption


@pytest.mark.parametrize("encrypted", [True, False])
def test_the_document_is_json_and_holds_no_score_of_a_pair(encrypted: bool) -> None:
    subject = evaluation(encrypted=encrypted)
    text = json.dumps(document(subject), allow_nan=False)
    assert json.loads(text)["mated_pair_count"] == 15
    for score in subject.scores.similarities:
        assert repr(float(score)) not in text


def test_the_curve_falls_for_one_error_and_rises_for_the_other() -> None:
    curve = document(evaluation())["curve"]
    fmr, fnmr = ([point[name] for point in curve] for name in ("fmr", "fnmr"))
    assert (fmr[0], fmr[-1], fnmr[0], fnmr[-1]) == (1.0, 0.0, 0.0, 1.0)
    assert fmr == sorted(fmr, reverse=True)
    assert fnmr == sorted(fnmr)
    assert [point["encrypted_fmr"] for point in curve] == pytest.approx(fmr)


@pytest.mark.parametrize(("suffix", "beginning"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("encrypted", [True, False])
def test_a_plot_is_drawn(tmp_path: Path, suffix: str, beginning: bytes, metric: Metric, encrypted: bool) -> None:
    path = tmp_path / f"accuracy.{suffix}"
    check_plot(path)
    draw(evaluation(encrypted=encrypted, metric=metric), path)
    assert path.read_bytes().startswith(beginning)


def test_a_plot_names_what_it_shows(tmp_path: Path) -> None:
    draw(evaluation(), tmp_path / "accuracy.svg")
    drawn = (tmp_path / "accuracy.svg").read_text()
    for label in ("dlib-resnet/hog/chip", "encrypted", "balanced", "false match rate"):
        assert label in drawn


@pytest.mark.parametrize("name", ["accuracy.jpeg", "accuracy", "missing/accuracy.png"])
def test_a_plot_that_cannot_be_drawn_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        check_plot(tmp_path / name)


def test_the_command_refuses_a_folder_without_both_kinds_of_pairs(veilface: Run, tmp_path: Path) -> None:
    for name in ("ada_1.jpg", "ada_2.jpg"):
        (tmp_path / name).write_bytes(b"")
    finished = veilface("evaluate", str(tmp_path), "--json", "--plaintext")
    assert finished.exit_code == 3
    assert "1 mated and 0 non-mated" in finished.document["error"]["message"]


def test_the_command_refuses_a_wrong_plot_first(veilface: Run, tmp_path: Path) -> None:
    finished = veilface("evaluate", str(tmp_path), "--json", "--plot", str(tmp_path / "a.gif"))
    assert finished.exit_code == 3
    assert "a.gif" in finished.document["error"]["message"]


@pytest.mark.parametrize("rate", ["0", "0.6", "-1"])
def test_an_impossible_rate_is_a_usage_error(veilface: Run, tmp_path: Path, rate: str) -> None:
    assert veilface("evaluate", str(tmp_path), "--calibrate", rate).exit_code == 2
