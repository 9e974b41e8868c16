"""The structure of JPEG files (ITU-T T.81, annex B)."""

from typing import Final

from veilface.common.errors import InvalidArgumentError
from veilface.embedding.domain.image.header import ImageFormat, ImageHeader, corrupt, truncated

SIGNATURE: Final = b"\xff\xd8\xff"

_END_OF_IMAGE: Final = 0xD9
_START_OF_SCAN: Final = 0xDA
_STANDALONE: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LENGTH_BYTES: Final = 2


def read_jpeg_header(data: bytes) -> ImageHeader:
    """Walk the segments up to the first scan, and find the end of the image behind it.

    What follows the end of the first image is not looked at: phones append previews and depth maps there.

    Raises:
        InvalidArgumentError: IMAGE_TRUNCATED or IMAGE_CORRUPT.
    """
    position = 2
    header: ImageHeader | None = None
    while True:
        marker, position = _next_marker(data, position)
        if marker in _STANDALONE:
            continue
        if marker == _END_OF_IMAGE:
            raise corrupt(ImageFormat.JPEG, "it ends before any pixels")
        length = int.from_bytes(data[position : position + _LENGTH_BYTES], "big")
        if position + max(length, _LENGTH_BYTES) > len(data):
            raise _ends_in_header()
        if length < _LENGTH_BYTES:
            raise corrupt(ImageFormat.JPEG, "a segment has an impossible length")
        if marker in _START_OF_FRAME and header is None:
            header = _frame_header(data[position + _LENGTH_BYTES : position + length])
        position += length
        if marker == _START_OF_SCAN:
            break
    if header is None:
        raise corrupt(ImageFormat.JPEG, "its pixels come before their size")
    # Inside a scan the byte FF is always followed by 00 or a restart marker.
    if data.find(bytes((0xFF, _END_OF_IMAGE)), position) < 0:
        raise truncated(ImageFormat.JPEG, "its end-of-image marker is missing")
    return header


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    if position >= len(data):
        raise _ends_in_header()
    if data[position] != 0xFF:
        raise corrupt(ImageFormat.JPEG, "there is no marker where one must be")
    # Any number of FF bytes may come before the marker's code.
    while position < len(data) and data[position] == 0xFF:
        position += 1
    if position >= len(data):
        raise _ends_in_header()
    return data[position], position + 1


def _frame_header(payload: bytes) -> ImageHeader:
    if len(payload) < 6:
        raise corrupt(ImageFormat.JPEG, "its frame header is too short")
    return ImageHeader(
        ImageFormat.JPEG,
        width=int.from_bytes(payload[3:5], "big"),
        height=int.from_bytes(payload[1:3], "big"),
    )


def _ends_in_header() -> InvalidArgumentError:
    return truncated(ImageFormat.JPEG, "it ends inside its header")
