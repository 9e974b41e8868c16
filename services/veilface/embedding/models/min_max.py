"""Models as CipherFace compares them by cosine: DeepFace's, followed by CipherFace's min-max transform.

They have names of their own, "cipherface-Facenet" and "cipherface-Facenet512", so that neither their thresholds nor
their templates can be mixed with those of the models themselves. VGG-Face has none: CipherFace does not transform it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import ConfigurationError, Reason
from veilface.crypto.contract import Metric, Scheme
from veilface.crypto.public.ckks_tenseal.min_max import COORDINATE_RANGES, min_max_normalised
from veilface.embedding.domain.image.pixels import Pixels
from veilface.embedding.domain.pipeline import Embedder, Scope

CIPHERFACE: Final = "cipherface-"
# The transform serves parity with published numbers and nothing else; squared distances are compared without it.
CIPHERFACE_SCOPE: Final = Scope(Scheme.CKKS_TENSEAL, Metric.COSINE)


class MinMaxEmbedder:
    """A model whose embeddings are transformed.

    Args:
        raw: The model itself.
        model: Its name, by which CipherFace chooses the range of a coordinate.
    """

    def __init__(self, raw: Embedder, model: str) -> None:
        self._raw = raw
        self._model = model

    @property
    def dimension(self) -> int:
        """How many values an embedding has."""
        return self._raw.dimension

    def embed(self, aligned: Pixels) -> NDArray[np.float64]:
        """The transformed embedding of an aligned face, shape (dimension,), of Euclidean length 1."""
        return min_max_normalised(self._raw.embed(aligned), self._model)


def transformed_model(name: str) -> str:
    """The model behind "cipherface-{model}". Raises ConfigurationError INVALID_SETTING for another."""
    model = name.removeprefix(CIPHERFACE)
    if model not in COORDINATE_RANGES:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"CipherFace transforms embeddings of {' and '.join(COORDINATE_RANGES)}, not of {model}",
        )
    return model
