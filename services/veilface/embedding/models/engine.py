"""DeepFace, held to this project's rules: ONNX only, quiet, with dlib's ResNet as a model of its own.

It downloads nothing unless told that it may, and whatever it loads is looked up and hashed by the weight store.
"""

import functools
import importlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from veilface.common.errors import ConfigurationError, Reason
from veilface.embedding.domain.pipeline import CheckedWeights
from veilface.embedding.models.weights import WeightStore

DLIB_RESNET: Final = "dlib-resnet"

_CUSTOM_MODELS: Final = {DLIB_RESNET: "veilface.embedding.models.dlib_resnet.DlibResNetClient"}
_ENGINE: Final = "onnx"
_LOG_LEVEL_ERROR: Final = "40"
_WEIGHTS_BELOW_HOME: Final = Path(".deepface") / "weights"
_DOWNLOADERS: Final = ("deepface.commons.weight_utils", "retinaface.commons.weight_utils")


class Task(StrEnum):
    """What a DeepFace model does, by DeepFace's names."""

    RECOGNITION = "facial_recognition"
    DETECTION = "face_detector"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A DeepFace model and the files that it was loaded from. Use it with the engine's lock held."""

    client: Any
    weights: tuple[CheckedWeights, ...]


def weights_below(deepface_home: Path) -> Path:
    """The folder in which DeepFace keeps weights."""
    return deepface_home / _WEIGHTS_BELOW_HOME


class DeepFaceEngine:
    """Loads DeepFace models. DeepFace keeps its state per process, so one process uses one engine.

    Args:
        home: The folder above ".deepface/weights".
        store: Where weight files are found and checked.
        downloads: Whether DeepFace may download a file that is missing, into the store's last folder.

    Attributes:
        deepface: DeepFace's API.
        lock: To be held around every call of DeepFace and of its models: none of them promises to be thread-safe.
        no_face_errors: What the API raises when it finds no face.

    Raises:
        ConfigurationError: INVALID_SETTING if DeepFace cannot be used.
    """

    def __init__(self, home: Path, store: WeightStore, *, downloads: bool = False) -> None:
        self.lock = threading.Lock()
        self._store = store
        self._downloads = downloads
        self._loaded: dict[tuple[Task, str], LoadedModel] = {}
        self._located: list[CheckedWeights] = []
        # DeepFace reads these when it is imported.
        os.environ["DEEPFACE_BACKEND_ENGINE"] = _ENGINE
        os.environ["DEEPFACE_HOME"] = str(home)
        os.environ.setdefault("DEEPFACE_LOG_LEVEL", _LOG_LEVEL_ERROR)
        self.deepface = _import_deepface(home)
        self._modeling: Any = importlib.import_module("deepface.modules.modeling")
        exceptions: Any = importlib.import_module("deepface.modules.exceptions")
        self.no_face_errors: tuple[type[Exception], ...] = (exceptions.FaceNotDetected, exceptions.ImgNotFound)
        self._register_custom_models()
        self._take_over_lookups()

    def available(self, task: Task) -> Sequence[str]:
        """The names that DeepFace knows."""
        return tuple(self._modeling.AVAILABLE_MODELS[task.value])

    def load(self, task: Task, name: str) -> LoadedModel:
        """Load a model, once.

        Raises:
            ConfigurationError: INVALID_SETTING for an unknown name or a missing package; WEIGHTS_MISSING;
                WEIGHTS_CORRUPT.
        """
        if name not in self.available(task):
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"{name!r} is not a {task.value.replace('_', ' ')} of DeepFace; known are "
                f"{', '.join(self.available(task))}",
            )
        if (task, name) not in self._loaded:
            self._loaded[task, name] = self._load(task, name)
        return self._loaded[task, name]

    def _load(self, task: Task, name: str) -> LoadedModel:
        # What DeepFace kept may have been loaded from files that this engine's store has not checked.
        getattr(self._modeling, "cached_models", {}).get(task.value, {}).pop(name, None)
        self._located.clear()
        try:
            client = self.deepface.build_model(model_name=name, task=task.value)
        except ImportError as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"{name} needs a package that is not installed ({error.name or error})"
            ) from error
        except (ValueError, RuntimeError, OSError) as error:
            raise ConfigurationError(
                Reason.WEIGHTS_CORRUPT,
                f"DeepFace cannot load {name}: its weight files are not what it expects, or the installed version of a "
                "library cannot read them",
            ) from error
        return LoadedModel(client, tuple(dict.fromkeys(self._located)))

    def _register_custom_models(self) -> None:
        for name, source in _CUSTOM_MODELS.items():
            self._modeling.AVAILABLE_MODELS[Task.RECOGNITION.value][name] = {self._modeling.ANY: source}

    def _take_over_lookups(self) -> None:
        for module_name in _DOWNLOADERS:
            module: Any = importlib.import_module(module_name)
            current = module.download_weights_if_necessary
            # An engine before this one may have put its own lookup there.
            download = getattr(current, "__wrapped__", current)
            module.download_weights_if_necessary = self._lookup(download)

    def _lookup(self, download: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(download)
        def locate(
            file_name: str, source_url: str | Sequence[str] = "", compress_type: str | None = None, **sources: Any
        ) -> str:
            urls = sources.get("source_urls", source_url)
            if self._downloads and not self._store.holds(file_name):
                # retina-face's own lookup knows no compression.
                compression = () if compress_type is None else (compress_type,)
                self._download(file_name, functools.partial(download, file_name, urls, *compression))
            located = self._store.locate(file_name, urls if isinstance(urls, str) else " or ".join(urls))
            self._located.append(located.weights)
            return str(located.path)

        return locate

    def _download(self, file_name: str, download: Callable[[], str]) -> None:
        try:
            download()
        except (ValueError, OSError) as error:
            raise ConfigurationError(
                Reason.WEIGHTS_MISSING,
                f"the weight file {file_name} is missing and DeepFace cannot download it ({type(error).__name__})",
            ) from error


def _import_deepface(home: Path) -> Any:
    try:
        deepface = importlib.import_module("deepface.DeepFace")
        backend = importlib.import_module("deepface.commons.backend_utils").get_backend_engine()
    except OSError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"DeepFace cannot make {weights_below(home)} ({error.strerror}): make the folder, or set "
            "VEILFACE_EMBEDDING_DEEPFACE_HOME to one that can be written",
        ) from error
    except ImportError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"DeepFace is not installed ({error.name}): pip install 'veilface[embedding]'"
        ) from error
    if backend != _ENGINE:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"DeepFace was imported with the {backend} engine before; only {_ENGINE} is used here",
        )
    return deepface
