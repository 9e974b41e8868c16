"""Pipelines with real models: the default one, and any other of DeepFace's."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dlib
import numpy as np
import pytest
import requests
from PIL import Image
from tests.integration.embedding.models import color_model
from tests.portraits import portrait_path

from veilface.common.errors import ConfigurationError, Reason
from veilface.embedding.domain.face.geometry import LandmarkType
from veilface.embedding.domain.image.decoding import ImageLimits, decode_image
from veilface.embedding.domain.image.pixels import Pixels
from veilface.embedding.domain.pipeline import Pipeline, PipelineName
from veilface.embedding.models.building import PipelineBuilder, build_pipelines
from veilface.embedding.models.engine import DeepFaceEngine, weights_below
from veilface.embedding.models.weights import (
    FACE_LANDMARKS,
    KNOWN_WEIGHTS,
    RESNET,
    WeightStore,
    packaged_weights_folder,
)

EYES = (LandmarkType.LEFT_EYE, LandmarkType.RIGHT_EYE)
FACENET = "facenet_weights.onnx"


def portrait(filename: str) -> Pixels:
    return decode_image(portrait_path(filename).read_bytes(), ImageLimits())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    weights_below(tmp_path).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def home_with_a_model(home: Path) -> Path:
    (weights_below(home) / FACENET).write_bytes(color_model(96))
    return home


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(requests, "head", refuse)
    monkeypatch.setattr(requests, "get", refuse)


def test_the_default_pipeline_names_the_files_that_it_was_loaded_from(default_pipeline: Pipeline) -> None:
    assert default_pipeline.name == "dlib-resnet/hog/chip"
    assert default_pipeline.dimension == 128
    assert {file.filename: file.sha256 for file in default_pipeline.weights} == {
        name: KNOWN_WEIGHTS[name].sha256 for name in (RESNET, FACE_LANDMARKS)
    }


def test_an_embedding_through_deepface_is_dlibs_own(default_pipeline: Pipeline) -> None:
    (face,) = default_pipeline.finder.find(portrait("obama.jpg"))
    folder = packaged_weights_folder()
    assert folder is not None
    network = dlib.face_recognition_model_v1(str(folder / RESNET))
    expected = np.array(network.compute_face_descriptor(face.aligned))
    assert default_pipeline.embedder.embed(face.aligned) == pytest.approx(expected, abs=1e-6)


def test_places_are_those_of_the_original_image(default_pipeline: Pipeline) -> None:
    original = portrait("astronaut.png")
    larger = np.asarray(Image.fromarray(original).resize((2048, 2048)))
    (small,), (large,) = default_pipeline.finder.find(original), default_pipeline.finder.find(larger)
    assert large.box.x == pytest.approx(4 * small.box.x, abs=60)
    assert large.box.width == pytest.approx(4 * small.box.width, rel=0.1)
    left, right, nose = (
        large.landmarks[kind] for kind in (LandmarkType.LEFT_EYE, LandmarkType.RIGHT_EYE, LandmarkType.NOSE)
    )
    assert large.box.x < left.x < nose.x < right.x < large.box.x + large.box.width
    assert max(left.y, right.y) < nose.y


def test_threads_that_share_a_pipeline_get_the_same_answers(default_pipeline: Pipeline) -> None:
    images = [portrait(name) for name in ("obama.jpg", "biden.jpg", "obama2.jpg", "astronaut.png")]

    def embed(image: Pixels) -> bytes:
        (face,) = default_pipeline.finder.find(image)
        return default_pipeline.embedder.embed(face.aligned).tobytes()

    alone = [embed(image) for image in images]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(embed, images * 2)) == alone * 2


def test_an_image_without_a_face_has_none(default_pipeline: Pipeline) -> None:
    assert default_pipeline.finder.find(np.full((480, 640, 3), 200, dtype=np.uint8)) == []


@pytest.mark.parametrize(("width", "height"), [(48, 48), (20_000, 48), (48, 20_000)])
def test_an_extreme_shape_does_no_harm(default_pipeline: Pipeline, width: int, height: int) -> None:
    assert default_pipeline.finder.find(np.zeros((height, width, 3), dtype=np.uint8)) == []


def test_any_deepface_model_and_detector_make_a_pipeline_by_their_names(home_with_a_model: Path) -> None:
    # DeepFace's dlib detector needs no file beyond those of the default pipeline.
    names = ["Facenet/dlib/deepface", "Facenet/hog/chip", "dlib-resnet/dlib/chip"]
    pipelines = build_pipelines(names, home_with_a_model, threads=1)
    (face,) = pipelines.default.finder.find(portrait("astronaut.png"))
    assert [pipeline.name for pipeline in pipelines] == names
    assert [pipeline.dimension for pipeline in pipelines] == [96, 96, 128]
    assert pipelines.default.embedder.embed(face.aligned).shape == (96,)


def test_deepfaces_detector_finds_the_face_where_dlibs_own_does(
    home_with_a_model: Path, default_pipeline: Pipeline
) -> None:
    deepface = build_pipelines(["Facenet/dlib/deepface"], home_with_a_model, threads=1).default
    image = portrait("obama.jpg")
    (ours,), (theirs,) = default_pipeline.finder.find(image), deepface.finder.find(image)
    tolerance = ours.box.width / 5
    assert theirs.box.center.distance(ours.box.center) < tolerance
    for eye in EYES:
        assert theirs.landmarks[eye].distance(ours.landmarks[eye]) < tolerance


def test_a_deepface_detector_that_finds_nothing_finds_no_face(home_with_a_model: Path) -> None:
    deepface = build_pipelines(["Facenet/dlib/deepface"], home_with_a_model, threads=1).default
    assert deepface.finder.find(np.full((480, 640, 3), 200, dtype=np.uint8)) == []


def test_a_file_without_a_published_hash_is_reported_with_its_own(home_with_a_model: Path) -> None:
    pipeline = build_pipelines(["Facenet/hog/chip"], home_with_a_model, threads=1).default
    reported = {file.filename: file.sha256 for file in pipeline.weights}
    assert reported[FACENET] == hashlib.sha256((weights_below(home_with_a_model) / FACENET).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("pipeline", "filename"),
    [
        ("Facenet/hog/chip", "facenet_weights.onnx"),
        ("SFace/hog/chip", "face_recognition_sface_2021dec.onnx"),
        ("dlib-resnet/yunet/chip", "face_detection_yunet_2023mar.onnx"),
        ("dlib-resnet/yunet/deepface", "face_detection_yunet_2023mar.onnx"),
        ("dlib-resnet/retinaface/deepface", "retinaface.onnx"),
        ("dlib-resnet/opencv/deepface", "haarcascade_frontalface_default.xml"),
    ],
)
def test_missing_weights_are_an_error_that_says_which_file_goes_where(home: Path, pipeline: str, filename: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        build_pipelines([pipeline], home, threads=1)
    assert raised.value.reason is Reason.WEIGHTS_MISSING
    assert str(weights_below(home) / filename) in raised.value.message


@pytest.mark.parametrize("filename", [RESNET, FACE_LANDMARKS])
def test_damaged_default_weights_are_an_error(home: Path, filename: str) -> None:
    folder = weights_below(home)
    packaged = packaged_weights_folder()
    assert packaged is not None
    for name in (RESNET, FACE_LANDMARKS):
        shutil.copy(packaged / name, folder / name)
    with (folder / filename).open("r+b") as file:
        file.seek(1000)
        file.write(b"damaged")
    store = WeightStore([folder])
    with pytest.raises(ConfigurationError, match=filename) as raised:
        PipelineBuilder(DeepFaceEngine(home, store), store, threads=1).build(PipelineName("dlib-resnet", "hog", "chip"))
    assert raised.value.reason is Reason.WEIGHTS_CORRUPT


def test_a_file_that_is_no_model_is_an_error(home: Path) -> None:
    (weights_below(home) / FACENET).write_bytes(b"no model")
    with pytest.raises(ConfigurationError, match="Facenet") as raised:
        build_pipelines(["Facenet/hog/chip"], home, threads=1)
    assert raised.value.reason is Reason.WEIGHTS_CORRUPT


def test_a_model_whose_embeddings_no_template_can_hold_is_an_error(home: Path) -> None:
    (weights_below(home) / FACENET).write_bytes(color_model(4097))
    with pytest.raises(ConfigurationError, match="4097") as raised:
        build_pipelines(["Facenet/hog/chip"], home, threads=1)
    assert raised.value.reason is Reason.INVALID_SETTING


@pytest.mark.parametrize(
    "name", ["FaceNot/hog/chip", "dlib-resnet/hoc/chip", "dlib-resnet/hog/deepface", "dlib-resnet/hog/crop"]
)
def test_an_unknown_model_detector_or_alignment_is_an_error(home: Path, name: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        build_pipelines([name], home, threads=1)
    assert raised.value.reason is Reason.INVALID_SETTING
