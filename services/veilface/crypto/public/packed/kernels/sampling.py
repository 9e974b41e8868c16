"""Sampling and arithmetic of bulk encryption."""

import numpy as np
from numba import int8, int32, int64, njit, uint32, uint64

from veilface.crypto.public.packed.kernels.arithmetic import reduce_wide
from veilface.crypto.public.packed.kernels.tiles import BLOCK, BLOCK_BYTES, LANES, pack_block


@njit(inline="always")
def _ones(x):
    """The number of one bits among the lowest 32."""
    x = x - ((x >> uint64(1)) & uint64(0x55555555))
    x = (x & uint64(0x33333333)) + ((x >> uint64(2)) & uint64(0x33333333))
    x = (x + (x >> uint64(4))) & uint64(0x0F0F0F0F)
    return (x * uint64(0x01010101) >> uint64(24)) & uint64(0xFF)


@njit(nogil=True, cache=True)
def sample(words, ternary, error0, error1):
    """Fill int8 (n, 16) arrays with uniform values in {-1, 0, 1} and differences of two 21-bit weights.

    words: uint64 (n * 16 * 3,). The ternary value is the upper half of 3 times a 32-bit word: its
    distribution is within 2^-31 of uniform.
    """
    mask = uint64(0x1FFFFF)
    lanes = ternary.shape[1]
    for i in range(ternary.shape[0]):
        for lane in range(lanes):
            at = 3 * (i * lanes + lane)
            ternary[i, lane] = int8(int64(((words[at] >> uint64(32)) * uint64(3)) >> uint64(32)) - 1)
            first, second = words[at + 1], words[at + 2]
            error0[i, lane] = int8(int64(_ones(first & mask)) - int64(_ones((first >> uint64(21)) & mask)))
            error1[i, lane] = int8(int64(_ones(second & mask)) - int64(_ones((second >> uint64(21)) & mask)))


@njit(nogil=True, cache=True)
def residues(small, q, out):
    """out = small mod q for |small| < q; both (n, 16)."""
    for i in range(out.shape[0]):
        for lane in range(out.shape[1]):
            value = int32(small[i, lane])
            out[i, lane] = uint32(value + int32(q)) if value < 0 else uint32(value)


@njit(nogil=True, cache=True)
def add_messages(messages, q, constants, out):
    """out[:, lane] += messages[lane] mod q; messages int64 (at most 16, n), out (n, 16)."""
    for lane in range(messages.shape[0]):
        for i in range(out.shape[0]):
            message = messages[lane, i]
            value = reduce_wide(uint64(abs(message)), q, constants[1], constants[2], constants[3])
            value = uint32(q - value) if message < 0 and value > 0 else value
            total = uint32(out[i, lane] + value)
            out[i, lane] = min(total, uint32(total - q))


@njit(nogil=True, cache=True)
def finish(public, ternary, errors, limb, block, count, constants, tiles):
    """One block of tiles = public * ternary + errors, all in the NTT domain and lazy.

    public: uint32 (2, limbs, n); ternary: (n, 16), one lane per coordinate, of which `count` are used; errors:
    (2, n, 16); tiles: uint64 (tiles, blocks, 4, 13, 8).
    """
    q, two32, two32_shoup, one_shoup = constants[0], constants[1], constants[2], constants[3]
    tiles_per_limb = ternary.shape[0] // LANES
    residues = np.zeros((BLOCK, 2, LANES), dtype=np.uint32)
    base = uint64(tiles.ctypes.data)
    for tile in range(tiles_per_limb):
        for coordinate in range(count):
            for polynomial in range(2):
                for position in range(LANES):
                    i = tile * LANES + position
                    value = uint64(public[polynomial, limb, i]) * uint64(ternary[i, coordinate])
                    value += uint64(errors[polynomial, i, coordinate])
                    residues[coordinate, polynomial, position] = reduce_wide(value, q, two32, two32_shoup, one_shoup)
        at = (limb * tiles_per_limb + tile) * tiles.shape[1] + block
        pack_block(uint64(residues.ctypes.data), uint64(base + uint64(at * BLOCK_BYTES)))
