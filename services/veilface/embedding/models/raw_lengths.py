"""Models as CipherFace compares them by Euclidean distance: DeepFace's, whose embeddings keep their lengths.

They have names of their own, "cipherface-euclidean-Facenet" and "cipherface-euclidean-Facenet512", so that neither
their thresholds nor their templates can be mixed with those of normalised embeddings. VGG-Face has none: DeepFace
normalises its embeddings already.
"""

from typing import Final

from veilface.common.errors import ConfigurationError, Reason
from veilface.crypto.contract import Metric, Scheme
from veilface.crypto.public.ckks_tenseal.raw_lengths import DISTANCES
from veilface.embedding.domain.pipeline import Scope

CIPHERFACE_EUCLIDEAN: Final = "cipherface-euclidean-"
# For parity with published numbers, as CIPHERFACE_SCOPE is. Raw embeddings have no cosine thresholds.
CIPHERFACE_EUCLIDEAN_SCOPE: Final = Scope(Scheme.CKKS_TENSEAL, Metric.SQUARED_EUCLIDEAN)


def raw_model(name: str) -> str:
    """The model behind "cipherface-euclidean-{model}". Raises ConfigurationError INVALID_SETTING for another."""
    model = name.removeprefix(CIPHERFACE_EUCLIDEAN)
    if model not in DISTANCES:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"CipherFace compares raw embeddings of {' and '.join(DISTANCES)}, not of {model}",
        )
    return model
