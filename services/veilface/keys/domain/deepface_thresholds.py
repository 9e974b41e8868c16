"""Published thresholds for the models of the papers, through DeepFace and as CipherFace transforms them.

DeepFace 0.0.103 (`deepface.config.threshold`) publishes one distance per model and metric, and uses it whatever the
detector is. Its cosine distance is one minus the cosine; its "euclidean_l2" is the distance of unit vectors, squared
here. The two were tuned apart: for Facenet a cosine of 0.60 matches, but a squared distance of 0.64, which is a cosine
of 0.68.

CipherFace 0.0.2 publishes cosine distances of embeddings after its min-max transform, and Euclidean ones of embeddings
that are not L2-normalised (see `ckks_tenseal.raw_lengths`). Both are offered as models of their own for keys of the
scheme ckks-tenseal only. They are no thresholds for anything else, nor are others for such embeddings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from veilface.crypto.contract import Metric
from veilface.crypto.public.ckks_tenseal.raw_lengths import DISTANCES, NORM_BOUND, squared_threshold

# The detectors of DeepFace that CipherFace knows; the alignment is DeepFace's.
DETECTORS: Final = (
    "opencv",
    "mtcnn",
    "ssd",
    "dlib",
    "retinaface",
    "mediapipe",
    "yolov8n",
    "yolov11n",
    "yolov11s",
    "yolov11m",
    "yunet",
    "fastmtcnn",
    "centerface",
)
# Distances: cosine, and euclidean_l2.
_DEEPFACE: Final = MappingProxyType({"Facenet": (0.40, 0.80), "Facenet512": (0.30, 1.04), "VGG-Face": (0.68, 1.17)})
_CIPHERFACE: Final = MappingProxyType(
    {"cipherface-Facenet": 0.02431508799003538, "cipherface-Facenet512": 0.02232566879533769}
)
_UNMEASURED: Final = "; not measured for this pipeline: calibrate with 'veilface evaluate --calibrate'"
_MEASURED: Final = MappingProxyType(
    {
        ("Facenet/yunet/deepface", Metric.COSINE): (
            "; measured on 300 labelled pairs of 25 photographs of 9 people (38 mated): false match 0 of 262, "
            "false non-match 1 of 38"
        ),
        ("Facenet/yunet/deepface", Metric.SQUARED_EUCLIDEAN): (
            "; measured on 300 labelled pairs of 25 photographs of 9 people (38 mated): false match 0 of 262, "
            "false non-match 1 of 38"
        ),
        ("cipherface-euclidean-Facenet/yunet/deepface", Metric.SQUARED_EUCLIDEAN): (
            "; measured on 300 labelled pairs of 25 photographs of 9 people (38 mated): false match 0 of 262, "
            "false non-match 1 of 38"
        ),
        ("cipherface-Facenet/yunet/deepface", Metric.COSINE): (
            "; measured on 300 labelled pairs of 25 photographs of 9 people (38 mated): false match 5 of 262, "
            "false non-match 0 of 38"
        ),
    }
)


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """A threshold as somebody published it, in units of the metric."""

    model: str
    metric: Metric
    value: float
    source: str


def published_values() -> Iterator[PublishedValue]:
    """Every one, by model, detector and metric."""
    for detector in DETECTORS:
        for model, (cosine_distance, euclidean_distance) in _DEEPFACE.items():
            pipeline = f"{model}/{detector}/deepface"
            yield _value(
                pipeline, Metric.COSINE, 1 - cosine_distance, f"DeepFace 0.0.103: cosine distance {cosine_distance}"
            )
            yield _value(
                pipeline,
                Metric.SQUARED_EUCLIDEAN,
                euclidean_distance**2,
                f"DeepFace 0.0.103: euclidean_l2 distance {euclidean_distance}, squared",
            )
        for model, cosine_distance in _CIPHERFACE.items():
            yield _value(
                f"{model}/{detector}/deepface",
                Metric.COSINE,
                1 - cosine_distance,
                f"CipherFace 0.0.2 (arXiv 2502.18514): cosine distance {cosine_distance:.6f} of min-max transformed "
                "embeddings",
            )
        for model, distance in DISTANCES.items():
            yield _value(
                f"cipherface-euclidean-{model}/{detector}/deepface",
                Metric.SQUARED_EUCLIDEAN,
                squared_threshold(model),
                f"CipherFace 0.0.2 (arXiv 2502.18514): Euclidean distance {distance:g} of embeddings that are not "
                f"normalised, divided by {NORM_BOUND:g} and squared",
            )


def _value(pipeline: str, metric: Metric, value: float, source: str) -> PublishedValue:
    return PublishedValue(pipeline, metric, round(value, 6), source + _MEASURED.get((pipeline, metric), _UNMEASURED))
