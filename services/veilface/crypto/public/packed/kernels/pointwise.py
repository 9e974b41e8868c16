"""Elementwise operations on residues."""

import numpy as np
from numba import njit, uint32, uint64

from veilface.crypto.public.packed.kernels.arithmetic import multiply_shoup, reduce_wide
from veilface.crypto.public.packed.kernels.tiles import BLOCK, BLOCK_BYTES, pack_block, unpack_block
from veilface.crypto.public.packed.kernels.tiles import LANES as TILE_LANES
from veilface.crypto.public.packed.kernels.vector import COUNT as WIDTH
from veilface.crypto.public.packed.kernels.vector import transpose


@njit(nogil=True, cache=True)
def tensor(a, b, constants, out):
    """out (3, limbs, n) = a * b for a, b (2, limbs, n) in the NTT domain."""
    for limb in range(a.shape[1]):
        q, two32 = constants[limb, 0], constants[limb, 1]
        two32_shoup, one_shoup = constants[limb, 2], constants[limb, 3]
        for i in range(a.shape[2]):
            a0, a1 = uint64(a[0, limb, i]), uint64(a[1, limb, i])
            b0, b1 = uint64(b[0, limb, i]), uint64(b[1, limb, i])
            out[0, limb, i] = reduce_wide(a0 * b0, q, two32, two32_shoup, one_shoup)
            out[1, limb, i] = reduce_wide(a0 * b1 + a1 * b0, q, two32, two32_shoup, one_shoup)
            out[2, limb, i] = reduce_wide(a1 * b1, q, two32, two32_shoup, one_shoup)


@njit(nogil=True, cache=True)
def accumulate_shifted(tiles, expanded, monomial, monomial_shoup, primes, tiles_per_limb, negative):
    """tiles += expanded * monomial (or -=), block by block.

    tiles: uint64 (tiles, blocks, 4, 13, 8); expanded: uint32 (tiles, 16 * blocks, 2, 32); monomial: (tiles, 32).
    """
    residues = np.empty((BLOCK, 2, TILE_LANES), dtype=np.uint32)
    rows = uint64(residues.ctypes.data)
    base = uint64(tiles.ctypes.data)
    for tile in range(tiles.shape[0]):
        q = primes[tile // tiles_per_limb]
        for block in range(tiles.shape[1]):
            words = uint64(base + uint64((tile * tiles.shape[1] + block) * BLOCK_BYTES))
            unpack_block(words, rows, uint64(4 * TILE_LANES))
            for coordinate in range(BLOCK):
                for polynomial in range(2):
                    for lane in range(TILE_LANES):
                        product = multiply_shoup(
                            expanded[tile, block * BLOCK + coordinate, polynomial, lane],
                            monomial[tile, lane],
                            monomial_shoup[tile, lane],
                            q,
                        )
                        present = residues[coordinate, polynomial, lane]
                        if negative:
                            r = uint32(present - product)
                            r = min(r, uint32(r + q))
                        else:
                            r = uint32(present + product)
                            r = min(r, uint32(r - q))
                        residues[coordinate, polynomial, lane] = r
            pack_block(rows, words)


@njit(nogil=True, cache=True)
def multiply_rows(values, constant, constant_shoup, q, out):
    """out = values * constant mod q, row by row; values, out: (rows, n), constant: (n,)."""
    for row in range(values.shape[0]):
        for i in range(values.shape[1]):
            out[row, i] = multiply_shoup(values[row, i], constant[i], constant_shoup[i], q)


@njit(nogil=True, cache=True)
def divide_last(values, last, constants):
    """values[:, :last] (count, limbs, n) = round(value / prime of limb `last`), in the coefficient domain.

    constants: uint32 (last, 6) rows of q, 1/divisor mod q, the Shoup companions of that and of 1, the divisor, and
    -(divisor // 2) mod q.
    """
    for index in range(values.shape[0]):
        for limb in range(last):
            q, factor, factor_shoup = constants[limb, 0], constants[limb, 1], constants[limb, 2]
            one_shoup, divisor, shift = constants[limb, 3], constants[limb, 4], constants[limb, 5]
            half = uint32(divisor // uint32(2))
            for i in range(values.shape[2]):
                r = uint32(values[index, last, i] + half)
                r = min(r, uint32(r - divisor))
                correction = uint32(multiply_shoup(r, uint32(1), one_shoup, q) + shift)
                correction = min(correction, uint32(correction - q))
                d = uint32(values[index, limb, i] - correction)
                d = min(d, uint32(d + q))
                values[index, limb, i] = multiply_shoup(d, factor, factor_shoup, q)


@njit(nogil=True, cache=True)
def store_tiles(x, first, coordinates, polynomial, first_tile, reverse, out):
    """Write the lanes of x (n, 16) as the coordinates from `first` on; lanes beyond the last one are left out.

    out: uint32 (tiles, rows, 2, 32) with at least `coordinates` rows. In reverse, coordinate j lies at
    coordinates - 1 - j.
    """
    count = min(WIDTH, coordinates - first)
    row = coordinates - 1 - first if reverse else first
    step = -1 if reverse else 1
    if count == WIDTH:
        source = uint64(x.ctypes.data)
        base = uint64(out.ctypes.data)
        for block in range(x.shape[0] // WIDTH):
            tile = first_tile + block * WIDTH // TILE_LANES
            at = ((tile * out.shape[1] + row) * 2 + polynomial) * TILE_LANES + block * WIDTH % TILE_LANES
            transpose(
                uint64(source + uint64(4 * block * WIDTH * WIDTH)),
                uint64(4 * WIDTH),
                uint64(base + uint64(4 * at)),
                uint64(4 * step * 2 * TILE_LANES),
            )
        return
    for tile in range(x.shape[0] // TILE_LANES):
        for lane in range(count):
            for i in range(TILE_LANES):
                out[first_tile + tile, row + step * lane, polynomial, i] = x[tile * TILE_LANES + i, lane]


@njit(nogil=True, cache=True)
def horner(c1, c2, s, constants, out):
    """out = c1 s + c2 s^2 in the NTT domain, all (n,)."""
    q, two32, two32_shoup, one_shoup = constants
    for i in range(out.shape[0]):
        inner = uint64(c1[i]) + reduce_wide(uint64(c2[i]) * uint64(s[i]), q, two32, two32_shoup, one_shoup)
        out[i] = uint32(reduce_wide(inner * uint64(s[i]), q, two32, two32_shoup, one_shoup))
