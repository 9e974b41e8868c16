"""Residues as a dense bit stream: 26-bit residues take 26 bits on the wire, not 32."""

import numpy as np
from numba import njit, uint32, uint64
from numpy.typing import NDArray

from veilface.crypto.public.packed.ring import U32


@njit(nogil=True, cache=True)
def _pack(values, width, out):  # type: ignore[no-untyped-def]
    buffer = uint64(0)
    filled = uint64(0)
    position = 0
    for value in values:
        buffer |= uint64(value) << filled
        filled += uint64(width)
        while filled >= uint64(8):
            out[position] = buffer & uint64(0xFF)
            position += 1
            buffer >>= uint64(8)
            filled -= uint64(8)
    if filled > uint64(0):
        out[position] = buffer & uint64(0xFF)


@njit(nogil=True, cache=True)
def _unpack(data, width, out):  # type: ignore[no-untyped-def]
    buffer = uint64(0)
    filled = uint64(0)
    position = 0
    mask = (uint64(1) << uint64(width)) - uint64(1)
    for index in range(out.shape[0]):
        while filled < uint64(width):
            buffer |= uint64(data[position]) << filled
            position += 1
            filled += uint64(8)
        out[index] = uint32(buffer & mask)
        buffer >>= uint64(width)
        filled -= uint64(width)
    return buffer


def packed_bytes(count: int, width: int) -> int:
    """How many bytes `count` residues of `width` bits take."""
    return (count * width + 7) // 8


def pack(values: U32, width: int) -> bytes:
    """Residues of shape (count,), each below 2^width, least significant bit first. width <= 31."""
    out: NDArray[np.uint8] = np.zeros(packed_bytes(values.shape[0], width), dtype=np.uint8)
    _pack(np.ascontiguousarray(values), width, out)
    return out.tobytes()


def unpack(data: bytes | memoryview, count: int, width: int) -> tuple[U32, bool]:
    """`count` residues and whether the padding bits behind them are all zero."""
    out: U32 = np.empty(count, dtype=np.uint32)
    rest = _unpack(np.frombuffer(data, dtype=np.uint8), width, out)
    return out, int(rest) == 0
