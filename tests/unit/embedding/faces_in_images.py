"""Recognition that needs no model: faces are colored squares, and the color is the embedding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilface.embedding.domain.face.finding import FoundFace
from veilface.embedding.domain.face.geometry import BoundingBox, LandmarkType, Point
from veilface.embedding.domain.image.pixels import Pixels
from veilface.embedding.domain.pipeline import CheckedWeights, Pipeline

GRAY = 128


def found_face(
    x: int = 0, y: int = 0, side: int = 100, confidence: float = 0.9, landmarks: dict[LandmarkType, Point] | None = None
) -> FoundFace:
    """A face in a square box."""
    aligned = np.full((150, 150, 3), GRAY, dtype=np.uint8)
    return FoundFace(BoundingBox(x, y, side, side), confidence, aligned, landmarks or {})


class SquareFinder:
    """Finds the squares that it was told about."""

    def __init__(self, boxes: Sequence[BoundingBox]) -> None:
        self._boxes = boxes

    def find(self, image: Pixels) -> list[FoundFace]:
        return [
            FoundFace(box, 0.9, image[box.y : box.y + box.height, box.x : box.x + box.width]) for box in self._boxes
        ]


@dataclass(frozen=True, slots=True)
class ColorEmbedder:
    """The mean color, repeated."""

    dimension: int = 6

    def embed(self, aligned: Pixels) -> NDArray[np.float64]:
        return np.resize(aligned.reshape(-1, 3).mean(axis=0), self.dimension)


def square_pipeline(*boxes: BoundingBox, name: str = "color/square/none") -> Pipeline:
    """A pipeline that finds these squares."""
    return Pipeline(name, SquareFinder(boxes), ColorEmbedder(), (CheckedWeights("color.dat", "0" * 64),))
