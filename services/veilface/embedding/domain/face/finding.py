"""What every detector and alignment answers."""

from dataclasses import dataclass, field
from typing import Protocol

from veilface.embedding.domain.face.geometry import BoundingBox, Landmarks
from veilface.embedding.domain.image.pixels import Pixels


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face in an image.

    Attributes:
        box: Where it is, in pixels of the upright original image.
        confidence: How sure the detector is, 0 to 1.
        aligned: The face as the recognition model wants it, upright and cut out, shape (height, width, 3).
        landmarks: Its points, in pixels of the upright original image; as many as the detector gives.
    """

    box: BoundingBox
    confidence: float
    aligned: Pixels = field(repr=False)
    landmarks: Landmarks = field(default_factory=dict)


class FaceFinder(Protocol):
    """A detector and an alignment. Safe to be called from several threads."""

    def find(self, image: Pixels) -> list[FoundFace]:
        """Every face of an upright image, in no particular order."""
        ...
