"""From what a file stores to 8-bit RGB."""

from typing import Final

import numpy as np
from PIL import Image

from veilface.embedding.domain.image.pixels import Pixels

_SIXTEEN_BIT_GRAY: Final = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_WHITE: Final = (255, 255, 255, 255)


def to_rgb(image: Image.Image) -> Pixels:
    """Convert a decoded image of any mode.

    Transparent pixels are put on white; 16-bit values keep their upper 8 bits; CMYK is converted without a color
    profile, and embedded profiles are not applied.
    """
    if image.mode in _SIXTEEN_BIT_GRAY:
        # Pillow would clip at 255 instead of scaling.
        gray = (np.asarray(image).astype(np.uint32) >> 8).clip(max=255).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return np.array(image.convert("RGB"), dtype=np.uint8, order="C")
