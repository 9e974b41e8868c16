"""Decoding with guards: nothing is decoded before its format and size are known to be acceptable."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Final

from PIL import Image

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.embedding.domain.image.color import to_rgb
from veilface.embedding.domain.image.header import ImageFormat, ImageHeader, corrupt
from veilface.embedding.domain.image.jpeg import SIGNATURE as JPEG_SIGNATURE
from veilface.embedding.domain.image.jpeg import read_jpeg_header
from veilface.embedding.domain.image.orientation import read_orientation, turn_upright
from veilface.embedding.domain.image.pixels import Pixels
from veilface.embedding.domain.image.png import SIGNATURE as PNG_SIGNATURE
from veilface.embedding.domain.image.png import read_png_header
from veilface.embedding.domain.image.webp import is_webp, read_webp_header

MEBIBYTE: Final = 1 << 20

# A JPEG with several pictures is an "MPO" to Pillow: phones append previews and gain maps to the photograph.
_PILLOW_FORMATS: Final = {
    ImageFormat.JPEG: ("JPEG", "MPO"),
    ImageFormat.PNG: ("PNG",),
    ImageFormat.WEBP: ("WEBP",),
}
# What Pillow's decoders raise on damaged input.
_DECODER_ERRORS: Final = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """The largest and smallest image that is accepted.

    Attributes:
        encoded_bytes: The size of the file.
        pixels: Width times height.
        shortest_side: Pixels of the shorter side; a smaller image cannot show a face that could be compared.
    """

    encoded_bytes: int = 16 * MEBIBYTE
    pixels: int = 40_000_000
    shortest_side: int = 48


def decode_image(encoded: bytes, limits: ImageLimits) -> Pixels:
    """Decode a JPEG, PNG or WebP photograph and turn it upright.

    Of a JPEG with several pictures the first is taken. Animations are refused: there is no rule by which one of their
    frames would be the person's photograph.

    Raises:
        InvalidArgumentError: IMAGE_EMPTY, IMAGE_TOO_LARGE, IMAGE_FORMAT, IMAGE_TRUNCATED, IMAGE_CORRUPT or
            IMAGE_DIMENSIONS.
    """
    _check_bytes(encoded, limits)
    header = read_header(encoded)
    _check_dimensions(header, limits)
    if header.animated:
        raise InvalidArgumentError(
            Reason.IMAGE_FORMAT, f"the {header.format} image is an animation: send a single picture"
        )
    with _decode(encoded, header) as image:
        return turn_upright(to_rgb(image), read_orientation(image))


def read_header(encoded: bytes) -> ImageHeader:
    """Recognize the format by the content and read the header.

    Raises:
        InvalidArgumentError: IMAGE_FORMAT, IMAGE_TRUNCATED or IMAGE_CORRUPT.
    """
    if encoded.startswith(JPEG_SIGNATURE):
        return read_jpeg_header(encoded)
    if encoded.startswith(PNG_SIGNATURE):
        return read_png_header(encoded)
    if is_webp(encoded):
        return read_webp_header(encoded)
    raise InvalidArgumentError(
        Reason.IMAGE_FORMAT, "the bytes are no JPEG, PNG or WebP image, whatever the file's name says: convert it first"
    )


def _decode(encoded: bytes, header: ImageHeader) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(encoded), formats=(header.format,))
        if image.format not in _PILLOW_FORMATS[header.format] or image.size != (header.width, header.height):
            raise corrupt(header.format, "its headers contradict each other")
        image.load()
    except _DECODER_ERRORS as error:
        raise corrupt(header.format, "its pixels cannot be decoded") from error
    return image


def _check_bytes(encoded: bytes, limits: ImageLimits) -> None:
    if not encoded:
        raise InvalidArgumentError(Reason.IMAGE_EMPTY, "the image has no bytes: send the content of an image file")
    if len(encoded) > limits.encoded_bytes:
        raise InvalidArgumentError(
            Reason.IMAGE_TOO_LARGE,
            f"the image has {len(encoded)} bytes; at most {limits.encoded_bytes} are accepted: scale it down",
        )


def _check_dimensions(header: ImageHeader, limits: ImageLimits) -> None:
    size = f"{header.width} x {header.height} pixels"
    if header.width * header.height > limits.pixels:
        raise InvalidArgumentError(
            Reason.IMAGE_DIMENSIONS,
            f"the image has {size}; at most {limits.pixels} pixels in all are accepted: scale it down",
        )
    if min(header.width, header.height) < limits.shortest_side:
        raise InvalidArgumentError(
            Reason.IMAGE_DIMENSIONS,
            f"the image has {size}; each side needs at least {limits.shortest_side}: send a larger picture",
        )
