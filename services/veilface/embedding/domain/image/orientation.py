"""How the camera was held: the orientation tag of EXIF."""

import struct
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from PIL import Image

from veilface.embedding.domain.image.pixels import Pixels

_ORIENTATION_TAG: Final = 0x0112
UPRIGHT: Final = 1

_TO_UPRIGHT: Final[Mapping[int, Callable[[Pixels], Pixels]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 1),
}


def read_orientation(image: Image.Image) -> int:
    """The orientation, 1 to 8. A tag block that is absent, unreadable or out of range means 1, upright."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, UPRIGHT)
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, OSError, OverflowError, struct.error):
        # Damaged camera data is common and harmless; viewers show such files as they are stored.
        return UPRIGHT
    return orientation if orientation in _TO_UPRIGHT else UPRIGHT


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the orientation, 1 to 8."""
    if orientation == UPRIGHT:
        return pixels
    return np.ascontiguousarray(_TO_UPRIGHT[orientation](pixels))
