"""Images that must be refused before any face is looked for, each with the reason that a caller gets."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from veilface.common.errors import Reason
from veilface.embedding.domain.image.decoding import ImageLimits

LIMITS = ImageLimits()
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class BadImage:
    """Bytes and why they are refused."""

    name: str
    encoded: bytes
    reason: Reason


def noise(width: int = 160, height: int = 120) -> Image.Image:
    """A picture that no compression makes small."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk with a right checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(width: int, height: int, pixels: bytes, *, extra: bytes = b"") -> bytes:
    """A PNG file of 8-bit gray with any size in its header and any bytes in its body."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return PNG_SIGNATURE + header + extra + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def with_jpeg_size(jpeg: bytes, width: int, height: int) -> bytes:
    """The same JPEG file with another size in its frame header."""
    frame = next(place for place in range(len(jpeg)) if jpeg[place] == 0xFF and jpeg[place + 1] in (0xC0, 0xC2))
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


def flipped(data: bytes, place: int) -> bytes:
    """The same bytes with one of them inverted."""
    return data[:place] + bytes((data[place] ^ 0xFF,)) + data[place + 1 :]


def bad_images() -> list[BadImage]:
    """Every kind."""
    jpeg, png_file = encoded(noise(), "JPEG"), encoded(noise(), "PNG")
    webp, lossless = encoded(noise(), "WEBP"), encoded(noise(), "WEBP", lossless=True)
    frames = [noise(), noise().rotate(180)]
    animated = {"save_all": True, "append_images": frames[1:]}
    scan = jpeg.index(b"\xff\xda")
    empty, too_large, unknown = Reason.IMAGE_EMPTY, Reason.IMAGE_TOO_LARGE, Reason.IMAGE_FORMAT
    truncated, corrupt, dimensions = Reason.IMAGE_TRUNCATED, Reason.IMAGE_CORRUPT, Reason.IMAGE_DIMENSIONS
    return [
        BadImage("nothing", b"", empty),
        BadImage("one byte more than allowed", jpeg.ljust(LIMITS.encoded_bytes + 1, b"\0"), too_large),
        BadImage("one byte", b"\xff", unknown),
        BadImage("text", b"this is not an image, whatever its name", unknown),
        BadImage("zeros", bytes(4096), unknown),
        BadImage("GIF", encoded(noise(), "GIF"), unknown),
        BadImage("BMP", encoded(noise(), "BMP"), unknown),
        BadImage("TIFF", encoded(noise(), "TIFF"), unknown),
        BadImage("JPEG 2000", encoded(noise(), "JPEG2000"), unknown),
        BadImage("SVG", b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>', unknown),
        BadImage("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(99), unknown),
        BadImage("PDF", b"%PDF-1.7\n" + jpeg, unknown),
        BadImage("a JPEG behind a byte too many", b"\0" + jpeg, unknown),
        BadImage("WAV", b"RIFF\x24\0\0\0WAVEfmt " + bytes(99), unknown),
        BadImage("animated WebP", encoded(frames[0], "WEBP", **animated), unknown),
        BadImage("animated PNG", encoded(frames[0], "PNG", **animated), unknown),
        BadImage("JPEG signature only", jpeg[:3], truncated),
        BadImage("JPEG cut in its header", jpeg[: scan // 2], truncated),
        BadImage("JPEG cut in its pixels", jpeg[: len(jpeg) // 2], truncated),
        BadImage("JPEG without its last byte", jpeg[:-1], truncated),
        BadImage("PNG signature only", PNG_SIGNATURE, truncated),
        BadImage("PNG cut in its pixels", png_file[: len(png_file) // 2], truncated),
        BadImage("PNG without its end", png_file[:-12], truncated),
        BadImage("WebP prefix only", webp[:12], truncated),
        BadImage("WebP cut in its pixels", webp[: len(webp) // 2], truncated),
        BadImage("JPEG with junk between its segments", jpeg[:20] + b"junk" + jpeg[20:], corrupt),
        BadImage("JPEG without pixels", jpeg[:scan] + b"\xff\xd9", corrupt),
        BadImage("JPEG with pixels before its size", b"\xff\xd8\xff\xda\0\x02\xff\xd9", corrupt),
        BadImage("JPEG without tables", _without_tables(jpeg), corrupt),
        BadImage("JPEG of no height", with_jpeg_size(jpeg, 160, 0), corrupt),
        BadImage("PNG with a wrong checksum", flipped(png_file, len(PNG_SIGNATURE) + 12), corrupt),
        BadImage("PNG with damaged pixels", png(160, 120, b"these are not compressed pixels"), corrupt),
        BadImage("PNG with too few pixels", png(160, 120, zlib.compress(bytes(99))), corrupt),
        BadImage("PNG of no width", png(0, 120, zlib.compress(b"")), corrupt),
        BadImage("PNG that begins with pixels", PNG_SIGNATURE + png_chunk(b"IDAT", b""), corrupt),
        BadImage("WebP with a damaged start", flipped(webp, 23), corrupt),
        BadImage("WebP with damaged pixels", lossless[:24] + bytes(len(lossless) - 24), corrupt),
        BadImage("WebP that holds nothing", b"RIFF\x04\0\0\0WEBP", corrupt),
        BadImage("PNG bomb", png(50_000, 50_000, zlib.compress(bytes(1 << 20))), dimensions),
        BadImage("PNG just too large", png(8_000, 5_001, zlib.compress(bytes(8_001 * 5_001))), dimensions),
        BadImage("JPEG bomb", with_jpeg_size(jpeg, 65_535, 65_535), dimensions),
        BadImage("WebP bomb", _webp_bomb(), dimensions),
        BadImage("PNG with a text bomb", png(99, 99, zlib.compress(bytes(100 * 99)), extra=_text_bomb()), corrupt),
        BadImage("one pixel", encoded(noise(1, 1), "PNG"), dimensions),
        BadImage("a thin line", encoded(noise(4000, 20), "JPEG"), dimensions),
    ]


def _without_tables(jpeg: bytes) -> bytes:
    place, kept = 2, jpeg[:2]
    while jpeg[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
        kept += b"" if jpeg[place + 1] == 0xDB else jpeg[place:end]
        place = end
    return kept + jpeg[place:]


def _text_bomb() -> bytes:
    return png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(64 << 20), 9))


def _webp_bomb() -> bytes:
    size = (16_383 - 1).to_bytes(3, "little")
    payload = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size + size
    return b"RIFF" + struct.pack("<I", len(payload)) + payload
