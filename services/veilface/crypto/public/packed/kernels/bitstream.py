"""Residues of fewer than 32 bits as a dense stream, least significant bit first."""

from numba import njit, uint32, uint64


@njit(nogil=True, cache=True)
def pack(values, width, out):
    """Write values of `width` bits, at most 32, to the little-endian words `out` (uint32), the last one padded."""
    buffer = uint64(0)
    filled = uint64(0)
    position = 0
    for value in values:
        buffer |= uint64(value) << filled
        filled += uint64(width)
        if filled >= uint64(32):
            out[position] = uint32(buffer & uint64(0xFFFFFFFF))
            position += 1
            buffer >>= uint64(32)
            filled -= uint64(32)
    if filled > uint64(0):
        out[position] = uint32(buffer)


@njit(nogil=True, cache=True)
def unpack(data, width, out):
    """Read len(out) values of `width` bits from the bytes `data`; returns the bits that are left over."""
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
