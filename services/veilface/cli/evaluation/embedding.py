"""Embeddings in the clear, inside this process only: what encryption is measured against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilface.client.images import read_image
from veilface.common.errors import VeilfaceError
from veilface.embedding.domain.face.selection import FaceSelection, select_faces
from veilface.embedding.domain.image.decoding import ImageLimits, decode_image
from veilface.embedding.domain.pipeline import Pipeline
from veilface.embedding.models.building import build_pipelines

_MOST_FACES = 1000


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings of photographs.

    Attributes:
        vectors: Shape (photographs that could be used, dimension), as they are encrypted, in the order given.
        failed: Those that could not be used, and why.
    """

    vectors: NDArray[np.float64] = field(repr=False)
    failed: tuple[tuple[Path, VeilfaceError], ...]


def load_pipeline(name: str, deepface_home: Path, downloads: bool) -> Pipeline:
    """Load a recognition pipeline into this process.

    Raises:
        ConfigurationError: INVALID_SETTING, WEIGHTS_MISSING or WEIGHTS_CORRUPT.
    """
    return build_pipelines([name], deepface_home, threads=1, downloads=downloads).default


def embed(
    photographs: Sequence[Path], pipeline: Pipeline, selection: FaceSelection, advance: Callable[[], None]
) -> Embedded:
    """Embed photographs exactly as the embedding service does; one that cannot be used does not stop the others."""
    vectors, failed = [], []
    for path in photographs:
        try:
            vectors.append(_embed_one(path, pipeline, selection))
        except VeilfaceError as error:
            failed.append((path, error))
        advance()
    shape = (len(vectors), pipeline.dimension)
    return Embedded(np.array(vectors, dtype=np.float64).reshape(shape), tuple(failed))


def _embed_one(path: Path, pipeline: Pipeline, selection: FaceSelection) -> NDArray[np.float64]:
    found = pipeline.finder.find(decode_image(read_image(path), ImageLimits()))
    (face,) = select_faces(found, selection, _MOST_FACES)
    return pipeline.embed(face.aligned)
