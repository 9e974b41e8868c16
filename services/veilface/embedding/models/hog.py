"""dlib's frontal face detector: histograms of oriented gradients and a linear classifier."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import exp
from queue import SimpleQueue
from typing import Any, Final

import dlib

from veilface.embedding.domain.image.pixels import Pixels
from veilface.embedding.models.detection import Detection

# The classifier's window is 80 pixels wide; one doubling finds faces from 40 pixels.
_DOUBLINGS: Final = 1
# Above dlib's own 0: in 33 portraits, whole and shrunk to faces of 45 pixels, faces scored 0.8 or more, and textures
# that are no face up to 0.12 (November 2026).
_LOWEST_SCORE: Final = 0.3


class HogDetector:
    """Finds upright faces seen from the front, from 40 pixels on.

    Args:
        instances: How many threads may detect at once. An instance keeps the image it works on in itself.
    """

    def __init__(self, instances: int) -> None:
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(instances):
            self._idle.put(dlib.get_frontal_face_detector())

    def detect(self, image: Pixels) -> list[Detection]:
        """Every face of an image."""
        with self._instance() as detector:
            rectangles, scores, _ = detector.run(image, _DOUBLINGS, _LOWEST_SCORE)
        return [
            Detection(
                left=rectangle.left(),
                top=rectangle.top(),
                right=rectangle.right() + 1,
                bottom=rectangle.bottom() + 1,
                confidence=_confidence(score),
            )
            for rectangle, score in zip(rectangles, scores, strict=True)
        ]

    @contextmanager
    def _instance(self) -> Iterator[Any]:
        detector = self._idle.get()
        try:
            yield detector
        finally:
            self._idle.put(detector)


def _confidence(score: float) -> float:
    # The classifier's margin, which has no upper bound, through a logistic function.
    return 1.0 / (1.0 + exp(-score))
