"""The structure of PNG files (W3C Portable Network Graphics, third edition, section 5)."""

import struct
import zlib
from typing import Final

from veilface.embedding.domain.image.header import ImageFormat, ImageHeader, corrupt, truncated

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_CHUNK_FRAME_BYTES: Final = 12
_HEADER_BYTES: Final = 13


def read_png_header(data: bytes) -> ImageHeader:
    """Walk the chunks to the end of the image and check the checksum of each.

    Raises:
        InvalidArgumentError: IMAGE_TRUNCATED or IMAGE_CORRUPT.
    """
    position = len(SIGNATURE)
    size: tuple[int, int] | None = None
    frames = 1
    while True:
        if position + _CHUNK_FRAME_BYTES > len(data):
            raise truncated(ImageFormat.PNG, "its end chunk is missing")
        length, kind = struct.unpack_from(">I4s", data, position)
        if not kind.isalpha():
            raise corrupt(ImageFormat.PNG, "there is no chunk where one must be")
        end = position + _CHUNK_FRAME_BYTES + length
        if end > len(data):
            raise truncated(ImageFormat.PNG, "its last chunk is incomplete")
        payload = memoryview(data)[position + 8 : end - 4]
        if zlib.crc32(payload, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end], "big"):
            raise corrupt(ImageFormat.PNG, "a checksum does not fit")
        if size is None:
            if kind != b"IHDR" or length != _HEADER_BYTES:
                raise corrupt(ImageFormat.PNG, "it does not begin with a header")
            size = struct.unpack_from(">II", payload)
        elif kind == b"acTL" and length >= 4:
            (frames,) = struct.unpack_from(">I", payload)
        elif kind == b"IEND":
            return ImageHeader(ImageFormat.PNG, *size, animated=frames > 1)
        position = end
