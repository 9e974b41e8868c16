"""dlib's alignment: five points, then a chip of 150 x 150 pixels with them where dlib's ResNet expects them."""

from pathlib import Path
from typing import Any, Final

import dlib
import numpy as np

from veilface.embedding.domain.face.finding import FoundFace
from veilface.embedding.domain.face.geometry import BoundingBox, LandmarkType, Point, midpoint, ordered_pair
from veilface.embedding.domain.image.pixels import Pixels
from veilface.embedding.domain.image.resizing import WorkingImage, working_image
from veilface.embedding.models.detection import Detection, Detector
from veilface.embedding.models.dlib_resnet import SIDE

# What dlib's ResNet was trained with.
_PADDING: Final = 0.25


class ChipFinder:
    """Finds faces with any detector and cuts out chips.

    Args:
        detector: What finds the faces.
        landmarks: dlib's five-point shape predictor.
    """

    def __init__(self, detector: Detector, landmarks: Path) -> None:
        self._detector = detector
        # Prediction does not change the predictor, so threads can share it.
        self._predictor: Any = dlib.shape_predictor(str(landmarks))

    def find(self, image: Pixels) -> list[FoundFace]:
        """Every face of an upright image."""
        working = working_image(image)
        return [self._align(detection, working, image) for detection in self._detector.detect(working.pixels)]

    def _align(self, detection: Detection, working: WorkingImage, original: Pixels) -> FoundFace:
        rectangle = dlib.rectangle(
            round(detection.left), round(detection.top), round(detection.right) - 1, round(detection.bottom) - 1
        )
        shape = self._predictor(working.pixels, rectangle)
        chip = dlib.get_face_chip(working.pixels, shape, size=SIDE, padding=_PADDING)
        points = [Point(part.x, part.y).scaled(working.scale_x, working.scale_y) for part in shape.parts()]
        # Two corners of each eye, then the base of the nose.
        eyes = ordered_pair(
            midpoint(points[0], points[1]),
            midpoint(points[2], points[3]),
            LandmarkType.LEFT_EYE,
            LandmarkType.RIGHT_EYE,
        )
        height, width = original.shape[:2]
        return FoundFace(
            box=BoundingBox.inside(
                detection.left * working.scale_x,
                detection.top * working.scale_y,
                detection.right * working.scale_x,
                detection.bottom * working.scale_y,
                width,
                height,
            ),
            confidence=detection.confidence,
            aligned=np.ascontiguousarray(chip),
            landmarks={**eyes, LandmarkType.NOSE: points[4]},
        )
