"""CipherFace's min-max transform of embeddings, for parity with its published cosine thresholds.

It shifts and stretches every coordinate into [0, 1] and normalises again. That is not a change of scale: it changes the
metric (Spearman correlation 0.81 with the true cosine), and all embeddings end up within a narrow cone. CipherFace's
cosine thresholds (0.0243 for Facenet, 0.0223 for Facenet512, as distances) belong to transformed embeddings and are
wrong for any other; ordinary thresholds are wrong for transformed ones. VGG-Face is not transformed.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason

# The lowest and highest coordinate that CipherFace 0.0.2 expects, by DeepFace's name of the model.
COORDINATE_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "Facenet": (-5.06, 5.04),
    "Facenet512": (-4.78, 4.79),
}


def min_max_normalised(embedding: NDArray[np.float64], model: str) -> NDArray[np.float64]:
    """A raw embedding (not L2-normalised) as CipherFace compares it by cosine, L2-normalised.

    Coordinates outside of the expected range widen it.

    Raises:
        InvalidArgumentError: UNKNOWN_MODEL if CipherFace transforms no embeddings of the model.
    """
    if model not in COORDINATE_RANGES:
        raise InvalidArgumentError(
            Reason.UNKNOWN_MODEL, f"CipherFace transforms embeddings of {', '.join(COORDINATE_RANGES)}, not of {model}"
        )
    lowest, highest = COORDINATE_RANGES[model]
    low, high = min(lowest, float(embedding.min())), max(highest, float(embedding.max()))
    shifted = (embedding - low) / (high - low)
    normalised: NDArray[np.float64] = shifted / np.linalg.norm(shifted)
    return normalised
