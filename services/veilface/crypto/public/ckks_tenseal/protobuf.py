"""TenSEAL's two protobuf messages, read and written field by field: nothing is handed to a parser before it is checked.

CKKSVectorProto: 1 sizes (packed varints), 2 ciphertexts (bytes, one per chunk), 3 scale (double).
TenSEALContextProto: 1 parameters, 2 public context, 3 private context.
"""

import struct
from typing import Final

from veilface.common.errors import InvalidArgumentError, Reason

PRIVATE_CONTEXT_FIELD: Final = 3
_VARINT, _FIXED64, _LENGTH = 0, 1, 2
_LONGEST_VARINT: Final = 10


def write_vector(size: int, ciphertext: bytes, scale: float) -> bytes:
    """A CKKSVectorProto with one ciphertext of `size` slots."""
    sizes = _varint(size)
    return b"".join(
        (
            _varint(1 << 3 | _LENGTH),
            _varint(len(sizes)),
            sizes,
            _varint(2 << 3 | _LENGTH),
            _varint(len(ciphertext)),
            ciphertext,
            _varint(3 << 3 | _FIXED64),
            struct.pack("<d", scale),
        )
    )


def read_vector(data: bytes) -> bytes:
    """The only ciphertext of a CKKSVectorProto that TenSEAL made in this process. Raises ValueError."""
    ciphertexts = [value for field, value in fields(data) if field == 2]
    if len(ciphertexts) != 1:
        raise ValueError(f"expected one ciphertext, got {len(ciphertexts)}")
    return bytes(ciphertexts[0])


def fields(data: bytes) -> list[tuple[int, memoryview]]:
    """The fields of a message in order: number and bytes (those of a varint are empty).

    Raises:
        InvalidArgumentError: MALFORMED_KEY if it is not a protobuf message.
    """
    view, found, at = memoryview(data), [], 0
    while at < len(view):
        key, at = _read_varint(view, at)
        kind = key & 7
        length = 0
        if kind == _VARINT:
            _, at = _read_varint(view, at)
        elif kind == _LENGTH:
            length, at = _read_varint(view, at)
        elif kind == _FIXED64:
            length = 8
        else:
            raise _malformed()
        if at + length > len(view):
            raise _malformed()
        found.append((key >> 3, view[at : at + length]))
        at += length
    return found


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for position in range(_LONGEST_VARINT):
        if at + position >= len(view):
            break
        byte = view[at + position]
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return value, at + position + 1
    raise _malformed()


def _malformed() -> InvalidArgumentError:
    return InvalidArgumentError(Reason.MALFORMED_KEY, "not a TenSEAL message")
