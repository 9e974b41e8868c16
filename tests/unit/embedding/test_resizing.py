import numpy as np
import pytest

from veilface.embedding.domain.image.resizing import working_image


@pytest.mark.parametrize(("width", "height"), [(1280, 960), (1000, 3000), (641, 480), (40_000, 50)])
def test_a_larger_image_is_scaled_to_640_pixels(width: int, height: int) -> None:
    working = working_image(np.zeros((height, width, 3), dtype=np.uint8))
    assert max(working.pixels.shape[:2]) == 640
    assert working.pixels.shape[1] * working.scale_x == pytest.approx(width)
    assert working.pixels.shape[0] * working.scale_y == pytest.approx(height)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (64, 48)])
def test_a_smaller_image_is_left_alone(width: int, height: int) -> None:
    original = np.zeros((height, width, 3), dtype=np.uint8)
    working = working_image(original)
    assert working.pixels is original
    assert (working.scale_x, working.scale_y) == (1.0, 1.0)
