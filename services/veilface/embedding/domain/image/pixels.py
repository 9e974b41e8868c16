"""Decoded images."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""An upright RGB image, shape (height, width, 3), C-contiguous, 0 to 255, sRGB."""
