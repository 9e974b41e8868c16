"""Embeddings of labelled photographs in the clear, made in the test's own process."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.faces import LabelledFaces
from veilface.embedding.domain.image.decoding import ImageLimits, decode_image
from veilface.embedding.domain.normalization import l2_normalize
from veilface.embedding.models.building import build_pipelines
from veilface.embedding.settings import DEFAULT_PIPELINE


def embeddings_in_the_clear(faces: LabelledFaces) -> Mapping[Path, NDArray[np.float64]]:
    """The embedding of every photograph by the default pipeline, L2-normalised float64."""
    pipeline = build_pipelines((DEFAULT_PIPELINE,), Path.home(), 1).default
    found = {}
    for path in faces.photographs:
        (face,) = pipeline.finder.find(decode_image(path.read_bytes(), ImageLimits()))
        found[path] = l2_normalize(pipeline.embedder.embed(face.aligned))
    return found
