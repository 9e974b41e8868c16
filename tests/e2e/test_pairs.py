"""1:1 on labelled photographs: each extracted once, all pairs compared encrypted."""

import pytest

from tests.e2e.conftest import TOLERANCE, Plaintext, Templates
from tests.faces import LabelledFaces, Pair
from veilface.client import VeilfaceClient


def test_every_decision_is_the_plaintext_decision(
    client: VeilfaceClient,
    faces: LabelledFaces,
    templates: Templates,
    plaintext: Plaintext,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decided: dict[Pair, bool] = {
        pair: client.compare_templates(templates.references[pair.first], templates.probes[pair.second]).is_match
        for pair in faces.pairs
    }
    near = [
        pair
        for pair in faces.pairs
        if abs(plaintext.cosine(pair.first, pair.second) - plaintext.threshold) <= TOLERANCE
    ]
    different = [
        pair
        for pair, is_match in decided.items()
        if is_match != (plaintext.cosine(pair.first, pair.second) >= plaintext.threshold)
    ]
    mated = [is_match for pair, is_match in decided.items() if pair.mated]
    non_mated = [is_match for pair, is_match in decided.items() if not pair.mated]
    right = sum(mated) + non_mated.count(False)
    with capsys.disabled():
        print(
            f"\n{faces.origin}: accuracy {right / len(decided):.4f}, FMR {sum(non_mated) / len(non_mated):.4f}, "
            f"FNMR {mated.count(False) / len(mated):.4f}; {len(near)} pairs within {TOLERANCE} of the threshold, "
            f"{len(different)} decided unlike plaintext"
        )
    assert len(decided) == len(faces.pairs) > 0
    assert set(different) <= set(near)
    # Both answers occur, so neither is given blindly.
    assert any(mated)
    assert not all(non_mated)
