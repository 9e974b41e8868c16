"""Embeddings of unit length."""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import FailedPreconditionError, Reason


def l2_normalize(embedding: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale a vector of shape (dimension,) to Euclidean length 1.

    Raises:
        FailedPreconditionError: EMBEDDING_OUT_OF_RANGE if it has no direction: zero, infinite or not a number.
    """
    norm = float(np.linalg.norm(embedding))
    if not np.isfinite(norm) or norm == 0.0:
        raise FailedPreconditionError(
            Reason.EMBEDDING_OUT_OF_RANGE, "the recognition model could not describe this face: use another photograph"
        )
    return embedding / norm
