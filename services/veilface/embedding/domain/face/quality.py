"""How fit a face is for comparison: measures after ISO/IEC 29794-5. They describe; nothing is refused for them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from veilface.embedding.domain.face.finding import FoundFace
from veilface.embedding.domain.face.geometry import BoundingBox, Landmarks, LandmarkType, Point, midpoint
from veilface.embedding.domain.image.pixels import Pixels

_MID_GRAY: Final = 127.5
_RESOLVED_EYE_DISTANCE: Final = 64.0
_BOX_WIDTHS_PER_EYE_DISTANCE: Final = 2.5
# Sharpness depends on the scale at which it is measured.
_MEASURED_SIDE: Final = 150
# A Laplacian variance of 100 is the customary limit of a blurred picture (Pech-Pacheco et al., ICPR 2000).
_BLURRED_VARIANCE: Final = 100.0
_UNKNOWN_FRONTALITY: Final = 0.5


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one face, each in [0, 1]; larger is better.

    Attributes:
        sharpness: v / (v + 100), where v is the variance of the Laplacian of the aligned face at 150 x 150 pixels.
        exposure: 1 at mid gray, 0 for a black or white face.
        resolution: The distance between the eyes, or the box width over 2.5 without eyes, over 64 pixels, at most 1.
        frontality: 1 frontal, 0 profile: how near the nose (else the mouth, else the middle of the box) is to the
            middle between the eyes, along the line through the eyes; 0.5 without eyes.
    """

    sharpness: float
    exposure: float
    resolution: float
    frontality: float

    @property
    def overall(self) -> float:
        """The mean of the measures."""
        return (self.sharpness + self.exposure + self.resolution + self.frontality) / 4


def measure_quality(face: FoundFace) -> Quality:
    """Measure a face."""
    gray = _gray(face.aligned)
    return Quality(
        sharpness=_sharpness(gray),
        exposure=1.0 - abs(float(gray.mean()) - _MID_GRAY) / _MID_GRAY,
        resolution=_resolution(face.box, face.landmarks),
        frontality=_frontality(face.box, face.landmarks),
    )


def _gray(aligned: Pixels) -> NDArray[np.float64]:
    resized = Image.fromarray(aligned).convert("L").resize((_MEASURED_SIDE, _MEASURED_SIDE), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float64)


def _sharpness(gray: NDArray[np.float64]) -> float:
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
    variance = float(laplacian.var())
    return variance / (variance + _BLURRED_VARIANCE)


def _resolution(box: BoundingBox, landmarks: Landmarks) -> float:
    eyes = _eyes(landmarks)
    eye_distance = eyes[0].distance(eyes[1]) if eyes else box.width / _BOX_WIDTHS_PER_EYE_DISTANCE
    return min(1.0, eye_distance / _RESOLVED_EYE_DISTANCE)


def _frontality(box: BoundingBox, landmarks: Landmarks) -> float:
    eyes = _eyes(landmarks)
    if eyes is None:
        return _UNKNOWN_FRONTALITY
    left, right = eyes
    eye_distance = left.distance(right)
    if eye_distance == 0.0:
        return 0.0
    middle = midpoint(left, right)
    axis = _face_axis_point(box, landmarks)
    along_eyes = ((axis.x - middle.x) * (right.x - left.x) + (axis.y - middle.y) * (right.y - left.y)) / eye_distance
    return max(0.0, 1.0 - 2.0 * abs(along_eyes) / eye_distance)


def _face_axis_point(box: BoundingBox, landmarks: Landmarks) -> Point:
    nose = landmarks.get(LandmarkType.NOSE)
    if nose is not None:
        return nose
    mouth_left, mouth_right = landmarks.get(LandmarkType.MOUTH_LEFT), landmarks.get(LandmarkType.MOUTH_RIGHT)
    if mouth_left is not None and mouth_right is not None:
        return midpoint(mouth_left, mouth_right)
    return box.center


def _eyes(landmarks: Landmarks) -> tuple[Point, Point] | None:
    left, right = landmarks.get(LandmarkType.LEFT_EYE), landmarks.get(LandmarkType.RIGHT_EYE)
    return None if left is None or right is None else (left, right)
