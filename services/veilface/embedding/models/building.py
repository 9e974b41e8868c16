"""From the names in the settings to pipelines that are loaded and warm."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

import numpy as np

from veilface.common.errors import ConfigurationError, Reason
from veilface.embedding.domain.face.finding import FaceFinder
from veilface.embedding.domain.image.resizing import LONGEST_SIDE
from veilface.embedding.domain.pipeline import CheckedWeights, Embedder, Pipeline, PipelineName, PipelineSet
from veilface.embedding.models.chip import ChipFinder
from veilface.embedding.models.deepface_finder import DETECTORS_WITH_EYES, DeepFaceDetector, DeepFaceFinder
from veilface.embedding.models.detection import Detector
from veilface.embedding.models.embedder import DeepFaceEmbedder
from veilface.embedding.models.engine import DeepFaceEngine, Task, weights_below
from veilface.embedding.models.hog import HogDetector
from veilface.embedding.models.min_max import CIPHERFACE, CIPHERFACE_SCOPE, MinMaxEmbedder, transformed_model
from veilface.embedding.models.raw_lengths import CIPHERFACE_EUCLIDEAN, CIPHERFACE_EUCLIDEAN_SCOPE, raw_model
from veilface.embedding.models.weights import FACE_LANDMARKS, WeightStore, packaged_weights_folder

T = TypeVar("T", covariant=True)

HOG: Final = "hog"
CHIP: Final = "chip"
DEEPFACE: Final = "deepface"
_EYE_DETECTOR: Final = "opencv"


def build_pipelines(names: Sequence[str], deepface_home: Path, threads: int, *, downloads: bool = False) -> PipelineSet:
    """Load pipelines from packaged weights and from DeepFace's folder.

    Args:
        names: "model/detector/alignment"; the first is the default.
        deepface_home: The folder above ".deepface/weights".
        threads: How many threads will use the pipelines.
        downloads: Whether DeepFace may download weight files that are missing.

    Raises:
        ConfigurationError: INVALID_SETTING, WEIGHTS_MISSING or WEIGHTS_CORRUPT.
    """
    parsed = [PipelineName.parse(name) for name in names]
    packaged = packaged_weights_folder()
    folders = [*([] if packaged is None else [packaged]), weights_below(deepface_home)]
    store = WeightStore(folders)
    builder = PipelineBuilder(DeepFaceEngine(deepface_home, store, downloads=downloads), store, threads)
    return PipelineSet([builder.build(name) for name in parsed])


class PipelineBuilder:
    """Builds pipelines that share their parts.

    Args:
        engine: DeepFace.
        store: The weight files.
        threads: How many threads will use the pipelines.
    """

    def __init__(self, engine: DeepFaceEngine, store: WeightStore, threads: int) -> None:
        self._engine = engine
        self._store = store
        self._threads = threads
        self._embedders: dict[str, _Part[Embedder]] = {}
        self._finders: dict[tuple[str, str], _Part[FaceFinder]] = {}

    def build(self, name: PipelineName) -> Pipeline:
        """Load and warm one pipeline. Raises ConfigurationError as `build_pipelines` does."""
        embedder = self._embedder(name.model)
        finder = self._finder(name)
        weights = dict.fromkeys((*embedder.weights, *finder.weights))
        keeps_lengths = name.model.startswith(CIPHERFACE_EUCLIDEAN)
        scope = CIPHERFACE_EUCLIDEAN_SCOPE if keeps_lengths else None
        if name.model.startswith(CIPHERFACE) and not keeps_lengths:
            scope = CIPHERFACE_SCOPE
        return Pipeline(str(name), finder.value, embedder.value, tuple(weights), scope, keeps_lengths)

    def _embedder(self, model: str) -> "_Part[Embedder]":
        if model not in self._embedders:
            self._embedders[model] = self._new_embedder(model)
        return self._embedders[model]

    def _new_embedder(self, model: str) -> "_Part[Embedder]":
        if model.startswith(CIPHERFACE_EUCLIDEAN):
            return self._embedder(raw_model(model))
        if model.startswith(CIPHERFACE):
            raw = self._embedder(transformed_model(model))
            return _Part(MinMaxEmbedder(raw.value, transformed_model(model)), raw.weights)
        loaded = self._engine.load(Task.RECOGNITION, model)
        return _Part(DeepFaceEmbedder(self._engine, model), loaded.weights)

    def _finder(self, name: PipelineName) -> "_Part[FaceFinder]":
        parts = name.detector, name.alignment
        if parts not in self._finders:
            finder = self._new_finder(name)
            finder.value.find(np.zeros((LONGEST_SIDE, LONGEST_SIDE, 3), dtype=np.uint8))
            self._finders[parts] = finder
        return self._finders[parts]

    def _new_finder(self, name: PipelineName) -> "_Part[FaceFinder]":
        if name.alignment == CHIP:
            detector = self._detector(name.detector)
            landmarks = self._store.locate(FACE_LANDMARKS)
            return _Part(ChipFinder(detector.value, landmarks.path), (*detector.weights, landmarks.weights))
        if name.alignment == DEEPFACE and name.detector != HOG:
            weights = self._engine.load(Task.DETECTION, name.detector).weights
            if name.detector not in DETECTORS_WITH_EYES:
                # Loaded now: in the middle of a request a missing cascade could only be an internal error.
                weights += self._engine.load(Task.DETECTION, _EYE_DETECTOR).weights
            return _Part(DeepFaceFinder(self._engine, name.detector), weights)
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"{name} is not a pipeline: the alignment is {CHIP}, or {DEEPFACE} with a detector of DeepFace "
            f"(which calls {HOG} 'dlib')",
        )

    def _detector(self, name: str) -> "_Part[Detector]":
        if name == HOG:
            return _Part(HogDetector(self._threads), ())
        loaded = self._engine.load(Task.DETECTION, name)
        return _Part(DeepFaceDetector(self._engine, loaded), loaded.weights)


@dataclass(frozen=True, slots=True)
class _Part(Generic[T]):
    value: T
    weights: tuple[CheckedWeights, ...]
