"""CipherFace's Euclidean distances, of embeddings with the lengths that the models give them.

A template holds a vector of norm 1 at most, so that an embedding is divided by a fixed bound first. That changes the
unit of a distance and nothing else: CipherFace's thresholds (10 for Facenet, 23.56 for Facenet512) are divided by the
same bound, and squared like all distances here.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, Reason

# Embeddings of Facenet are 11 to 12.3 long (on 25 photographs).
NORM_BOUND: Final = 64.0
# Distances of raw embeddings by DeepFace's name of the model: CipherFace 0.0.2 (arXiv 2502.18514).
DISTANCES: Final[Mapping[str, float]] = {"Facenet": 10.0, "Facenet512": 23.56}


def bounded(embedding: NDArray[np.float64]) -> NDArray[np.float64]:
    """A raw embedding in units of NORM_BOUND, shape as given.

    Raises:
        FailedPreconditionError: EMBEDDING_OUT_OF_RANGE if it is longer, or not finite.
    """
    if not float(np.linalg.norm(embedding)) <= NORM_BOUND:
        raise FailedPreconditionError(
            Reason.EMBEDDING_OUT_OF_RANGE,
            f"the recognition model's embedding of this face is longer than {NORM_BOUND:g}: use another photograph",
        )
    return embedding / NORM_BOUND


def squared_threshold(model: str) -> float:
    """CipherFace's threshold for squared distances of bounded embeddings.

    Raises:
        InvalidArgumentError: UNKNOWN_MODEL if CipherFace has none of raw embeddings.
    """
    if model not in DISTANCES:
        raise InvalidArgumentError(
            Reason.UNKNOWN_MODEL, f"CipherFace compares raw embeddings of {' and '.join(DISTANCES)}, not of {model}"
        )
    return (DISTANCES[model] / NORM_BOUND) ** 2
