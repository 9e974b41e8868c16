"""What a detector answers that leaves the alignment to others."""

from dataclasses import dataclass
from typing import Protocol

from veilface.embedding.domain.image.pixels import Pixels


@dataclass(frozen=True, slots=True)
class Detection:
    """A rectangle that holds a face, in pixels of the image given; it may reach beyond the image's edges."""

    left: float
    top: float
    right: float
    bottom: float
    confidence: float


class Detector(Protocol):
    """Finds faces. Safe to be called from several threads."""

    def detect(self, image: Pixels) -> list[Detection]:
        """Every face of an image."""
        ...
