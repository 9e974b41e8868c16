"""The default pipeline on labelled photographs. Embeddings are compared in the clear, inside this process only."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.faces import LabelledFaces, faces_folder, labelled_faces, packaged_faces

from veilface.embedding.domain.image.decoding import ImageLimits, decode_image
from veilface.embedding.domain.normalization import l2_normalize
from veilface.embedding.domain.pipeline import Pipeline

# dlib publishes a Euclidean distance of 0.6; its embeddings are about 1.53 long, so that is a cosine of 0.923.
BALANCED, STRICT, LENIENT = 0.925, 0.94, 0.91


@dataclass(frozen=True, slots=True)
class Scores:
    """Cosines of mated and of non-mated pairs."""

    faces: LabelledFaces
    mated: NDArray[np.float64]
    non_mated: NDArray[np.float64]
    lengths: NDArray[np.float64]

    def fmr(self, threshold: float) -> float:
        return float((self.non_mated >= threshold).mean())

    def fnmr(self, threshold: float) -> float:
        return float((self.mated < threshold).mean())


def measure(faces: LabelledFaces, pipeline: Pipeline) -> Scores:
    raw = {}
    for path in faces.photographs:
        found = pipeline.finder.find(decode_image(path.read_bytes(), ImageLimits()))
        assert len(found) == 1, f"{path.name} shows one face, {len(found)} were found"
        raw[path] = pipeline.embedder.embed(found[0].aligned)
    units = {path: l2_normalize(embedding) for path, embedding in raw.items()}
    mated, non_mated = (
        np.array([units[pair.first] @ units[pair.second] for pair in faces.pairs if pair.mated is wanted])
        for wanted in (True, False)
    )
    return Scores(faces, mated, non_mated, np.array([np.linalg.norm(embedding) for embedding in raw.values()]))


@pytest.fixture(scope="module")
def scores(default_pipeline: Pipeline) -> Scores:
    return measure(labelled_faces(), default_pipeline)


@pytest.fixture(scope="module")
def packaged_scores(scores: Scores, default_pipeline: Pipeline) -> Scores:
    return scores if faces_folder() is None else measure(packaged_faces(), default_pipeline)


def test_every_mated_pair_scores_higher_than_every_other_pair(
    scores: Scores, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n{scores.faces.origin}: {scores.mated.size} mated, cosine from {scores.mated.min():.4f} upward; "
              f"{scores.non_mated.size} others, up to {scores.non_mated.max():.4f}")  # fmt: skip
        for name, threshold in (("strict", STRICT), ("balanced", BALANCED), ("lenient", LENIENT)):
            print(f"  {name} {threshold}: FMR {scores.fmr(threshold):.2%}, FNMR {scores.fnmr(threshold):.2%}")
    assert scores.mated.min() > scores.non_mated.max()


def test_the_balanced_threshold_decides_every_pair_rightly(scores: Scores) -> None:
    assert scores.fmr(BALANCED) == 0.0
    assert scores.fnmr(BALANCED) == 0.0


def test_the_strict_threshold_has_no_false_match(scores: Scores) -> None:
    assert scores.fmr(STRICT) == 0.0
    assert scores.fnmr(STRICT) <= 0.05


def test_the_lenient_threshold_has_no_false_non_match(scores: Scores) -> None:
    assert scores.fnmr(LENIENT) == 0.0
    assert scores.fmr(LENIENT) <= 0.02


def test_portraits_from_packages_are_decided_rightly_too(packaged_scores: Scores) -> None:
    assert packaged_scores.fmr(BALANCED) == 0.0
    assert packaged_scores.fnmr(BALANCED) == 0.0


def test_raw_embeddings_have_the_length_that_the_thresholds_are_derived_from(scores: Scores) -> None:
    assert scores.lengths.mean() == pytest.approx(1.53, abs=0.1)
