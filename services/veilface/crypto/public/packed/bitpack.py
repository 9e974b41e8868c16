"""Residues as a dense bit stream: 26-bit residues take 26 bits on the wire, not 32."""

import numpy as np

from veilface.crypto.public.packed.kernels import bitstream
from veilface.crypto.public.packed.ring import U32


def packed_bytes(count: int, width: int) -> int:
    """How many bytes `count` residues of `width` bits take."""
    return (count * width + 7) // 8


def pack(values: U32, width: int) -> bytes:
    """Residues of shape (count,), each below 2^width, least significant bit first. width <= 31."""
    words: U32 = np.empty((values.shape[0] * width + 31) // 32, dtype="<u4")
    bitstream.pack(np.ascontiguousarray(values), width, words)
    return words.data.cast("B")[: packed_bytes(values.shape[0], width)].tobytes()


def unpack(data: bytes | memoryview, count: int, width: int) -> tuple[U32, bool]:
    """`count` residues and whether the padding bits behind them are all zero."""
    out: U32 = np.empty(count, dtype=np.uint32)
    rest = bitstream.unpack(np.frombuffer(data, dtype=np.uint8), width, out)
    return out, int(rest) == 0
