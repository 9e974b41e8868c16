import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.unit.embedding.bad_images import BadImage, bad_images, encoded, noise

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.embedding.domain.image.decoding import ImageLimits, decode_image

LIMITS = ImageLimits()
BAD_IMAGES = bad_images()
SEEDS = [
    encoded(noise(64, 48), "JPEG"),
    encoded(noise(64, 48), "JPEG", progressive=True),
    encoded(noise(64, 48), "PNG"),
    encoded(noise(64, 48), "WEBP"),
    encoded(noise(64, 48), "WEBP", lossless=True),
]


def halves(mode: str = "RGB") -> Image.Image:
    """64 x 48 pixels: red on the left, blue on the right, with a green stripe along the top."""
    image = Image.new("RGB", (64, 48), (255, 0, 0))
    image.paste((0, 0, 255), (32, 0, 64, 48))
    image.paste((0, 255, 0), (0, 0, 64, 8))
    return image.convert(mode)


@pytest.mark.parametrize("bad", BAD_IMAGES, ids=lambda bad: bad.name)
def test_an_unusable_image_is_refused_with_its_reason(bad: BadImage) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        decode_image(bad.encoded, LIMITS)
    assert raised.value.reason is bad.reason


def test_there_are_bad_images_of_every_reason() -> None:
    reasons = {reason for reason in Reason if reason.startswith("IMAGE_")}
    assert {bad.reason for bad in BAD_IMAGES} == reasons


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_an_accepted_format_is_decoded(image_format: str) -> None:
    options = {"quality": 95, "subsampling": 0} if image_format == "JPEG" else {"lossless": True}
    pixels = decode_image(encoded(halves(), image_format, **options), LIMITS)
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels[24, 16].astype(int) - (255, 0, 0)).max() < 12
    assert np.abs(pixels[24, 48].astype(int) - (0, 0, 255)).max() < 12


def test_a_progressive_jpeg_is_decoded() -> None:
    assert decode_image(encoded(halves(), "JPEG", progressive=True), LIMITS).shape == (48, 64, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_png_becomes_rgb(mode: str) -> None:
    image = halves(mode)
    assert np.array_equal(decode_image(encoded(image, "PNG"), LIMITS), np.asarray(image.convert("RGB")))


def test_a_16_bit_gray_png_is_scaled_and_not_clipped() -> None:
    gray = np.linspace(0, 65_535, 64 * 48).astype(np.uint16).reshape(48, 64)
    pixels = decode_image(encoded(Image.fromarray(gray), "PNG"), LIMITS)
    assert np.array_equal(pixels, np.repeat((gray >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


def test_a_cmyk_jpeg_keeps_its_colors() -> None:
    pixels = decode_image(encoded(halves("CMYK"), "JPEG", quality=95), LIMITS)
    assert pixels[24, 16, 0] > 200
    assert pixels[24, 16, 2] < 60


def test_a_gray_jpeg_becomes_rgb() -> None:
    pixels = decode_image(encoded(halves("L"), "JPEG"), LIMITS)
    assert pixels.shape == (48, 64, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_transparent_pixels_are_put_on_white(image_format: str) -> None:
    image = Image.new("RGBA", (64, 48), (10, 20, 30, 0))
    image.paste((10, 20, 30, 255), (0, 0, 32, 48))
    pixels = decode_image(encoded(image, image_format, lossless=True), LIMITS)
    assert tuple(pixels[20, 10]) == (10, 20, 30)
    assert tuple(pixels[20, 50]) == (255, 255, 255)


def test_a_transparent_color_of_a_palette_is_put_on_white() -> None:
    image = halves().quantize(4)
    blue = image.getpixel((48, 24))
    pixels = decode_image(encoded(image, "PNG", transparency=blue), LIMITS)
    assert tuple(pixels[24, 48]) == (255, 255, 255)


# What a camera stores so that undoing the orientation shows the scene upright.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_an_oriented_image_is_turned_upright(orientation: int, image_format: str) -> None:
    transpose = STORED[orientation]
    stored = halves() if transpose is None else halves().transpose(transpose)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode_image(encoded(stored, image_format, exif=exif, lossless=True), LIMITS)
    assert np.array_equal(pixels, np.asarray(halves()))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0garbage that is no TIFF header", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_unreadable_camera_data_does_not_matter(exif: bytes) -> None:
    assert decode_image(encoded(halves(), "JPEG", exif=exif), LIMITS).shape == (48, 64, 3)


def test_an_unknown_orientation_does_not_matter() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert decode_image(encoded(halves(), "JPEG", exif=exif), LIMITS).shape == (48, 64, 3)


def test_of_a_jpeg_with_several_pictures_the_first_is_taken() -> None:
    several = encoded(halves(), "MPO", save_all=True, append_images=[Image.new("RGB", (32, 24), (0, 255, 0))])
    assert Image.open(io.BytesIO(several)).format == "MPO"
    assert decode_image(several, LIMITS).shape == (48, 64, 3)


def test_bytes_behind_the_end_of_a_jpeg_do_not_matter() -> None:
    assert decode_image(encoded(halves(), "JPEG") + bytes(99), LIMITS).shape == (48, 64, 3)


def test_an_image_exactly_at_the_limits_is_decoded() -> None:
    whole = encoded(halves(), "PNG")
    limits = ImageLimits(encoded_bytes=len(whole), pixels=64 * 48, shortest_side=48)
    assert decode_image(whole, limits).shape == (48, 64, 3)


@pytest.mark.parametrize("name", ["PNG bomb", "JPEG bomb", "WebP bomb"])
def test_a_bomb_is_refused_without_memory_for_its_pixels(name: str) -> None:
    bomb = next(bad for bad in BAD_IMAGES if bad.name == name)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgumentError):
            decode_image(bomb.encoded, LIMITS)
        refused_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        decode_image(encoded(noise(1200, 900), "PNG"), LIMITS)
        decoded_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused_bytes < 1 << 20
    assert decoded_bytes > 1200 * 900 * 3


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_damaged_bytes_decode_or_are_refused_and_nothing_else(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(1, len(damaged)))] if data.draw(st.booleans()) else damaged
    try:
        pixels = decode_image(bytes(damaged), LIMITS)
    except InvalidArgumentError as error:
        outcome = error.reason
    else:
        outcome = pixels.shape[2:]
    assert outcome == (3,) or str(outcome).startswith("IMAGE_")
