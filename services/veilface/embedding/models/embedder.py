"""Any DeepFace recognition model as an `Embedder`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import ConfigurationError, Reason
from veilface.crypto.contract import MAX_DIMENSION
from veilface.embedding.domain.image.pixels import Pixels
from veilface.embedding.models.engine import DeepFaceEngine

_GRAY = 128


class DeepFaceEmbedder:
    """Embeds with a model of DeepFace. The first embedding, of a gray square, tells the dimension.

    Args:
        engine: DeepFace, which has loaded the model.
        model_name: By DeepFace's names.

    Raises:
        ConfigurationError: INVALID_SETTING if embeddings have more dimensions than a template can hold.
    """

    def __init__(self, engine: DeepFaceEngine, model_name: str) -> None:
        self._deepface: Any = engine.deepface
        self._model_name = model_name
        self._lock = engine.lock
        self._dimension = self.embed(np.full((160, 160, 3), _GRAY, dtype=np.uint8)).size
        if not 1 <= self._dimension <= MAX_DIMENSION:
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"{model_name} makes embeddings of {self._dimension} dimensions; a template holds 1 to {MAX_DIMENSION}",
            )

    @property
    def dimension(self) -> int:
        """How many values an embedding has."""
        return self._dimension

    def embed(self, aligned: Pixels) -> NDArray[np.float64]:
        """The raw embedding of an aligned face, shape (dimension,)."""
        bgr = np.ascontiguousarray(aligned[:, :, ::-1])
        with self._lock:
            representations = self._deepface.represent(
                img_path=bgr, model_name=self._model_name, detector_backend="skip", enforce_detection=False
            )
        return np.asarray(representations[0]["embedding"], dtype=np.float64)
