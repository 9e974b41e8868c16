"""The smaller image in which faces are looked for."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from veilface.embedding.domain.image.pixels import Pixels

LONGEST_SIDE: Final = 640
_REDUCING_GAP: Final = 3.0


@dataclass(frozen=True, slots=True)
class WorkingImage:
    """An image of at most 640 pixels on its longer side.

    Attributes:
        pixels: The image.
        scale_x: Original pixels per pixel of this image, horizontally.
        scale_y: The same, vertically; the two differ by rounding only.
    """

    pixels: Pixels
    scale_x: float
    scale_y: float


def working_image(original: Pixels, longest_side: int = LONGEST_SIDE) -> WorkingImage:
    """Scale an image down, if it is larger; never up."""
    height, width = original.shape[:2]
    factor = longest_side / max(width, height)
    if factor >= 1.0:
        return WorkingImage(original, 1.0, 1.0)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    resized = Image.fromarray(original).resize(size, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    return WorkingImage(np.array(resized, dtype=np.uint8, order="C"), width / size[0], height / size[1])
