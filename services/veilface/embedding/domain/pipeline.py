"""Recognition pipelines: model, detector and alignment together. A threshold belongs to all three."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import ConfigurationError, InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, Scheme
from veilface.crypto.public.ckks_tenseal.raw_lengths import bounded
from veilface.embedding.domain.face.finding import FaceFinder
from veilface.embedding.domain.image.pixels import Pixels
from veilface.embedding.domain.normalization import l2_normalize

_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class PipelineName:
    """ "{model}/{detector}/{alignment}", for example "dlib-resnet/hog/chip"."""

    model: str
    detector: str
    alignment: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a name from the settings. Raises ConfigurationError INVALID_SETTING."""
        parts = text.split("/")
        if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"{text[:80]!r} is not a pipeline: expected model/detector/alignment, for example dlib-resnet/hog/chip",
            )
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.model}/{self.detector}/{self.alignment}"


@dataclass(frozen=True, slots=True)
class CheckedWeights:
    """A weight file that was read and hashed when the process started.

    Attributes:
        filename: Without its folder.
        sha256: 64 hexadecimal digits.
    """

    filename: str
    sha256: str


class Embedder(Protocol):
    """A recognition model. Safe to be called from several threads."""

    @property
    def dimension(self) -> int:
        """How many values an embedding has, as the model's output says."""
        ...

    def embed(self, aligned: Pixels) -> NDArray[np.float64]:
        """The raw embedding of an aligned face, shape (dimension,)."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """The only scheme and metric that a pipeline's embeddings are meant for."""

    scheme: Scheme
    metric: Metric


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline that is loaded and ready.

    Attributes:
        scope: None for every scheme and metric.
        keeps_lengths: Whether embeddings keep the lengths that the model gives them, in units of a fixed bound.
    """

    name: str
    finder: FaceFinder
    embedder: Embedder
    weights: tuple[CheckedWeights, ...]
    scope: Scope | None = None
    keeps_lengths: bool = False

    @property
    def dimension(self) -> int:
        """How many values an embedding has."""
        return self.embedder.dimension

    def embed(self, aligned: Pixels) -> NDArray[np.float64]:
        """The embedding of an aligned face as it is encrypted, shape (dimension,): of length 1, or at most 1.

        Raises:
            FailedPreconditionError: EMBEDDING_OUT_OF_RANGE if the model could not describe the face.
        """
        raw = self.embedder.embed(aligned)
        return bounded(raw) if self.keeps_lengths else l2_normalize(raw)

    def check(self, scheme: Scheme, metric: Metric) -> None:
        """Raise InvalidArgumentError, UNSUPPORTED_BY_SCHEME or WRONG_METRIC, outside of the pipeline's scope."""
        if self.scope is None:
            return
        if scheme is not self.scope.scheme:
            raise InvalidArgumentError(
                Reason.UNSUPPORTED_BY_SCHEME,
                f"{self.name} is for keys of the scheme {self.scope.scheme} only: use the model itself",
            )
        if metric is not self.scope.metric:
            raise InvalidArgumentError(
                Reason.WRONG_METRIC, f"embeddings of {self.name} are compared by {self.scope.metric} only"
            )


class PipelineSet:
    """The pipelines that a server runs; the first is the default.

    Raises:
        ConfigurationError: INVALID_SETTING if there is none, or one twice.
    """

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        if not pipelines:
            raise ConfigurationError(Reason.INVALID_SETTING, "no recognition pipeline is configured: name at least one")
        self._pipelines = {pipeline.name: pipeline for pipeline in pipelines}
        if len(self._pipelines) < len(pipelines):
            raise ConfigurationError(Reason.INVALID_SETTING, "a recognition pipeline is configured twice")

    def __iter__(self) -> Iterator[Pipeline]:
        return iter(self._pipelines.values())

    @property
    def default(self) -> Pipeline:
        """What a request without a model uses."""
        return next(iter(self))

    def select(self, name: str) -> Pipeline:
        """The pipeline of this name; empty selects the default. Raises InvalidArgumentError UNKNOWN_MODEL."""
        if not name:
            return self.default
        if name not in self._pipelines:
            raise InvalidArgumentError(
                Reason.UNKNOWN_MODEL, f"this server does not run that model; it runs {', '.join(self._pipelines)}"
            )
        return self._pipelines[name]
