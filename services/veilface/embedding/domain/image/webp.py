"""The structure of WebP files (RFC 9649)."""

import struct
from typing import Final

from veilface.embedding.domain.image.header import ImageFormat, ImageHeader, corrupt, truncated

RIFF: Final = b"RIFF"
WEBP: Final = b"WEBP"

_PREFIX_BYTES: Final = 12
_CHUNK_FRAME_BYTES: Final = 8
_ANIMATION_FLAG: Final = 0x02
_LOSSY_START_CODE: Final = b"\x9d\x01\x2a"
_LOSSLESS_SIGNATURE: Final = 0x2F
_FOURTEEN_BITS: Final = 0x3FFF


def is_webp(data: bytes) -> bool:
    """Whether the bytes begin as a WebP file does."""
    return data[:4] == RIFF and data[8:12] == WEBP


def read_webp_header(data: bytes) -> ImageHeader:
    """Check the lengths and read the size of the canvas.

    Raises:
        InvalidArgumentError: IMAGE_TRUNCATED or IMAGE_CORRUPT.
    """
    (riff_bytes,) = struct.unpack_from("<I", data, 4)
    if riff_bytes + _CHUNK_FRAME_BYTES > len(data):
        raise truncated(ImageFormat.WEBP, f"{len(data)} of its {riff_bytes + _CHUNK_FRAME_BYTES} bytes are there")
    if len(data) < _PREFIX_BYTES + _CHUNK_FRAME_BYTES:
        raise corrupt(ImageFormat.WEBP, "it holds nothing")
    kind, length = struct.unpack_from("<4sI", data, _PREFIX_BYTES)
    payload = data[_PREFIX_BYTES + _CHUNK_FRAME_BYTES :][:length]
    if len(payload) < length:
        raise corrupt(ImageFormat.WEBP, "its first chunk is longer than the file")
    if kind == b"VP8X":
        return _extended(payload)
    if kind == b"VP8 ":
        return _lossy(payload)
    if kind == b"VP8L":
        return _lossless(payload)
    raise corrupt(ImageFormat.WEBP, "it begins with an unknown chunk")


def _extended(payload: bytes) -> ImageHeader:
    if len(payload) < 10:
        raise corrupt(ImageFormat.WEBP, "its header is too short")
    return ImageHeader(
        ImageFormat.WEBP,
        width=int.from_bytes(payload[4:7], "little") + 1,
        height=int.from_bytes(payload[7:10], "little") + 1,
        animated=bool(payload[0] & _ANIMATION_FLAG),
    )


def _lossy(payload: bytes) -> ImageHeader:
    if len(payload) < 10 or payload[3:6] != _LOSSY_START_CODE:
        raise corrupt(ImageFormat.WEBP, "its pixels do not begin as they must")
    width, height = struct.unpack_from("<HH", payload, 6)
    return ImageHeader(ImageFormat.WEBP, width & _FOURTEEN_BITS, height & _FOURTEEN_BITS)


def _lossless(payload: bytes) -> ImageHeader:
    if len(payload) < 5 or payload[0] != _LOSSLESS_SIGNATURE:
        raise corrupt(ImageFormat.WEBP, "its pixels do not begin as they must")
    bits = int.from_bytes(payload[1:5], "little")
    return ImageHeader(ImageFormat.WEBP, (bits & _FOURTEEN_BITS) + 1, (bits >> 14 & _FOURTEEN_BITS) + 1)
