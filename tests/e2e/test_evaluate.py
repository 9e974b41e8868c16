"""`veilface evaluate` on labelled photographs: measured in the clear, and decided by a stack of its own."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faces import LabelledFaces
from veilface.crypto.contract import Metric, Scheme
from veilface.keys.domain.thresholds import ThresholdTable

TIMEOUT_S = 500
PIPELINE = "dlib-resnet/hog/chip"


@pytest.fixture(scope="module")
def folder(faces: LabelledFaces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs in one folder, with their pairs in a master.csv."""
    made = tmp_path_factory.mktemp("photographs")
    for path in faces.photographs:
        shutil.copy(path, made / path.name)
    with (made / "master.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_x", "file_y", "Decision"])
        for pair in faces.pairs:
            rows.writerow([pair.first.name, pair.second.name, "Yes" if pair.mated else "No"])
    return made


@pytest.mark.full
@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("scheme", [scheme for scheme in Scheme if scheme is not Scheme.CKKS_PACKED])
def test_no_scheme_changes_a_decision_on_labelled_pairs(
    faces: LabelledFaces, folder: Path, tmp_path: Path, scheme: Scheme, metric: Metric
) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "veilface.cli.app", "evaluate", str(folder), "--json", "--scheme", scheme.value,
         "--metric", metric.value],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    encrypted = json.loads(finished.stdout)["encrypted"]
    assert (encrypted["scheme"], encrypted["pair_count"]) == (scheme.value, len(faces.pairs))
    assert encrypted["agreement_at_all_thresholds"]["different"] == 0
    assert encrypted["agreement_at_all_thresholds"]["compared"] > 100 * len(faces.pairs)


def test_no_decision_on_labelled_pairs_is_changed_by_encryption(
    faces: LabelledFaces, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thresholds, plot, temporary = tmp_path / "thresholds.json", tmp_path / "accuracy.svg", tmp_path / "temporary"
    temporary.mkdir()
    finished = subprocess.run(
        [sys.executable, "-m", "veilface.cli.app", "evaluate", str(folder), "--json", "--calibrate", "0.01",
         "--output", str(thresholds), "--plot", str(plot)],
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    document = json.loads(finished.stdout)
    encrypted = document["encrypted"]
    with capsys.disabled():
        print(f"\n{document['data']}: AUC {document['auc']:.4f}, EER {document['eer']:.2%}; encrypted: "
              f"{encrypted['agreement_at_all_thresholds']}")  # fmt: skip

    mated = sum(pair.mated for pair in faces.pairs)
    assert (document["mated_pair_count"], document["non_mated_pair_count"]) == (mated, len(faces.pairs) - mated)
    assert document["auc"] == 1.0
    assert encrypted["pair_count"] == len(faces.pairs)
    agreement = encrypted["agreement_at_all_thresholds"]
    assert agreement["different"] == 0
    assert agreement["compared"] > 100 * len(faces.pairs)
    assert encrypted["after"] == pytest.approx(encrypted["before"])
    for point in document["operating_points"]:
        counted = point["encrypted"]["agreement"]
        assert counted["compared"] + counted["within_tolerance"] == len(faces.pairs)

    table = ThresholdTable.load(thresholds)
    for point in document["operating_points"]:
        assert table.resolve(PIPELINE, Metric.COSINE, point["name"], ()).value == point["threshold"]
    (balanced,) = (point for point in document["operating_points"] if point["name"] == "balanced")
    assert balanced["fmr"]["value"] <= 0.01
    assert plot.read_text().startswith("<?xml")
    assert list(temporary.iterdir()) == []
