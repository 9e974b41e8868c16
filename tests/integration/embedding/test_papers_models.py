"""The models of the papers through DeepFace's own loader: Facenet, Facenet512 and VGG-Face.

Facenet runs with real weights (see tests/facenet_weights.py). No package carries weights of Facenet512 and VGG-Face:
for these a small generated ONNX file of the right shape stands in, and nothing is said about their accuracy.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.facenet_weights import facenet_home
from tests.faces import labelled_faces
from tests.integration.embedding.models import color_model
from tests.integration.embedding.test_accuracy import Scores, measure
from tests.portraits import portrait_path

from veilface.common.errors import ConfigurationError, Reason
from veilface.crypto.contract import Metric, Scheme
from veilface.crypto.public.ckks_tenseal.min_max import min_max_normalised
from veilface.crypto.public.ckks_tenseal.raw_lengths import NORM_BOUND
from veilface.embedding.domain.image.decoding import ImageLimits, decode_image
from veilface.embedding.domain.normalization import l2_normalize
from veilface.embedding.domain.pipeline import Pipeline, Scope
from veilface.embedding.models.building import build_pipelines
from veilface.embedding.models.engine import weights_below
from veilface.keys.domain.thresholds import ThresholdTable

FACENET = "Facenet/yunet/deepface"
PARITY = "cipherface-Facenet/yunet/deepface"
RAW = "cipherface-euclidean-Facenet/yunet/deepface"
# DeepFace's name, its weight file, the side of its images, its dimension.
GENERATED = [
    ("Facenet", "facenet_weights.onnx", 160, 128),
    ("Facenet512", "facenet512_weights.onnx", 160, 512),
    ("VGG-Face", "vgg_face_weights.onnx", 224, 4096),
]


def threshold(model: str, metric: Metric) -> float:
    return ThresholdTable.load(None).resolve(model, metric, "balanced", ()).value


@pytest.fixture
def home(tmp_path: Path) -> Path:
    weights_below(tmp_path).mkdir(parents=True)
    return tmp_path


@pytest.fixture(scope="module")
def real() -> tuple[Pipeline, Pipeline]:
    facenet, parity = build_pipelines([FACENET, PARITY], facenet_home(), threads=2)
    return facenet, parity


@pytest.fixture(scope="module")
def raw() -> Pipeline:
    return build_pipelines([RAW], facenet_home(), threads=2).default


@pytest.fixture(scope="module")
def facenet_scores(real: tuple[Pipeline, Pipeline]) -> Scores:
    return measure(labelled_faces(), real[0])


@pytest.fixture(scope="module")
def parity_scores(real: tuple[Pipeline, Pipeline]) -> Scores:
    return measure(labelled_faces(), real[1])


@pytest.mark.parametrize(("model", "filename", "side", "dimension"), GENERATED)
def test_a_model_of_the_papers_is_loaded_by_its_name(
    home: Path, model: str, filename: str, side: int, dimension: int
) -> None:
    (weights_below(home) / filename).write_bytes(color_model(dimension, side))
    pipeline = build_pipelines([f"{model}/dlib/deepface"], home, threads=1).default
    (face,) = pipeline.finder.find(decode_image(portrait_path("astronaut.png").read_bytes(), ImageLimits()))
    embedding = pipeline.embedder.embed(face.aligned)
    assert pipeline.dimension == dimension
    assert embedding.shape == (dimension,)
    assert np.linalg.norm(l2_normalize(embedding)) == pytest.approx(1)


@pytest.mark.parametrize(("model", "filename", "side", "dimension"), GENERATED)
def test_missing_weights_are_named(home: Path, model: str, filename: str, side: int, dimension: int) -> None:
    with pytest.raises(ConfigurationError, match="VEILFACE_EMBEDDING_DOWNLOADS") as raised:
        build_pipelines([f"{model}/dlib/deepface"], home, threads=1)
    assert raised.value.reason is Reason.WEIGHTS_MISSING
    assert str(weights_below(home) / filename) in raised.value.message


def test_deepface_downloads_a_missing_file_when_it_is_allowed_to(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(url: str, output: str, **options: object) -> None:
        asked.append(url)
        Path(output).write_bytes(color_model(512))

    monkeypatch.setattr("deepface.commons.weight_utils.ensure_source_is_reachable", lambda url: None)
    monkeypatch.setattr("deepface.commons.weight_utils.gdown.download", download)
    names = ["Facenet512/dlib/deepface"]
    with pytest.raises(ConfigurationError):
        build_pipelines(names, home, threads=1)
    assert not asked
    pipeline = build_pipelines(names, home, threads=1, downloads=True).default
    assert pipeline.dimension == 512
    assert [url.rsplit("/", 1)[-1] for url in asked] == ["facenet512_weights.onnx"]
    assert "facenet512_weights.onnx" in {file.filename for file in pipeline.weights}


def test_a_download_that_fails_is_a_missing_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> None:
        raise ValueError("no network")

    monkeypatch.setattr("deepface.commons.weight_utils.ensure_source_is_reachable", refuse)
    with pytest.raises(ConfigurationError, match=r"facenet512_weights\.onnx") as raised:
        build_pipelines(["Facenet512/dlib/deepface"], home, threads=1, downloads=True)
    assert raised.value.reason is Reason.WEIGHTS_MISSING


def test_real_facenet_tells_all_pairs_apart(facenet_scores: Scores, capsys: pytest.CaptureFixture[str]) -> None:
    cosine = threshold(FACENET, Metric.COSINE)
    with capsys.disabled():
        print(f"\n{FACENET} with real weights on {facenet_scores.faces.origin}: mated from "
              f"{facenet_scores.mated.min():.4f}, others up to {facenet_scores.non_mated.max():.4f}; at DeepFace's "
              f"{cosine}: FMR {facenet_scores.fmr(cosine):.2%}, FNMR {facenet_scores.fnmr(cosine):.2%}")  # fmt: skip
    assert facenet_scores.mated.min() > facenet_scores.non_mated.max()


@pytest.mark.parametrize("metric", Metric)
def test_deepfaces_thresholds_serve_real_facenet(facenet_scores: Scores, metric: Metric) -> None:
    value = threshold(FACENET, metric)
    cosine = value if metric is Metric.COSINE else 1 - value / 2
    assert facenet_scores.fmr(cosine) == 0.0
    assert facenet_scores.fnmr(cosine) <= 0.06


def test_the_parity_pipeline_is_the_model_with_cipherfaces_transform(real: tuple[Pipeline, Pipeline]) -> None:
    facenet, parity = real
    (face,) = facenet.finder.find(decode_image(portrait_path("obama.jpg").read_bytes(), ImageLimits()))
    transformed = parity.embedder.embed(face.aligned)
    assert transformed == pytest.approx(min_max_normalised(facenet.embedder.embed(face.aligned), "Facenet"), abs=1e-6)
    assert (transformed >= 0).all()
    assert parity.scope == Scope(Scheme.CKKS_TENSEAL, Metric.COSINE)
    assert facenet.scope is None


def test_cipherfaces_threshold_belongs_to_transformed_embeddings_only(
    facenet_scores: Scores, parity_scores: Scores, capsys: pytest.CaptureFixture[str]
) -> None:
    cosine = threshold(PARITY, Metric.COSINE)
    with capsys.disabled():
        print(f"\n{PARITY} at CipherFace's {cosine}: FMR {parity_scores.fmr(cosine):.2%}, "
              f"FNMR {parity_scores.fnmr(cosine):.2%}")  # fmt: skip
    assert parity_scores.fmr(cosine) <= 0.03
    assert parity_scores.fnmr(cosine) == 0.0
    # Crosswise: no mated pair matches, or every pair does.
    assert facenet_scores.fnmr(cosine) > 0.95
    assert parity_scores.fmr(threshold(FACENET, Metric.COSINE)) == 1.0


def test_cipherfaces_euclidean_pipeline_keeps_the_lengths_of_embeddings(
    real: tuple[Pipeline, Pipeline], raw: Pipeline
) -> None:
    facenet, _ = real
    (face,) = facenet.finder.find(decode_image(portrait_path("obama.jpg").read_bytes(), ImageLimits()))
    embedding = facenet.embedder.embed(face.aligned)
    assert raw.embed(face.aligned) * NORM_BOUND == pytest.approx(embedding, abs=1e-5)
    assert np.linalg.norm(facenet.embed(face.aligned)) == pytest.approx(1)
    assert raw.scope == Scope(Scheme.CKKS_TENSEAL, Metric.SQUARED_EUCLIDEAN)


def test_cipherfaces_euclidean_threshold_serves_real_facenet(raw: Pipeline) -> None:
    faces = labelled_faces()
    embeddings = {}
    for path in faces.photographs:
        (face,) = raw.finder.find(decode_image(path.read_bytes(), ImageLimits()))
        embeddings[path] = raw.embed(face.aligned)
    limit = threshold(RAW, Metric.SQUARED_EUCLIDEAN)
    distances = np.array([((embeddings[pair.first] - embeddings[pair.second]) ** 2).sum() for pair in faces.pairs])
    is_mated = np.array([pair.mated for pair in faces.pairs])
    assert not (distances[~is_mated] <= limit).any()
    assert (distances[is_mated] > limit).mean() <= 0.06


@pytest.mark.parametrize(
    "model", ["cipherface-euclidean-VGG-Face", "cipherface-VGG-Face", "cipherface-dlib-resnet", "cipherface-"]
)
def test_models_that_cipherface_does_not_transform_have_no_parity_pipeline(home: Path, model: str) -> None:
    shutil.copy(weights_below(facenet_home()) / "face_detection_yunet_2023mar.onnx", weights_below(home))
    with pytest.raises(ConfigurationError) as raised:
        build_pipelines([f"{model}/yunet/deepface"], home, threads=1)
    assert raised.value.reason is Reason.INVALID_SETTING
