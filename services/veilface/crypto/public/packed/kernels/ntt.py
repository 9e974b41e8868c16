"""Transforms of one polynomial of residues below 2^31, bit-exact with SEAL's.

Cooley-Tukey forward and Gentleman-Sande inverse with merged powers of the 2n-th root (Longa and Naehrig 2016). Stages
whose stride is at least 16 run on sixteen neighbours at once; for the last four stages the polynomial is transposed,
so that they do as well. `tail` holds the roots of those stages in that order: uint32 (15, n / 16), stage s from row
2^s - 1.
"""

from numba import njit, uint32, uint64

from veilface.crypto.public.packed.kernels.butterflies import forward_strict_pair, inverse_strict_pair, reduced
from veilface.crypto.public.packed.kernels.vector import (
    COUNT,
    load,
    multiply_lazy,
    splat,
    store,
    transpose,
)

_VECTOR_BYTES = 4 * COUNT


@njit(inline="always")
def _forward_four(at, stride, w1, w1s, w2, w2s, w3, w3s, q):
    """Two forward stages of four vectors `stride` bytes apart."""
    second, third, fourth = uint64(at + stride), uint64(at + uint64(2) * stride), uint64(at + uint64(3) * stride)
    a, c = forward_strict_pair(load(at), load(third), w1, w1s, q)
    b, d = forward_strict_pair(load(second), load(fourth), w1, w1s, q)
    a, b = forward_strict_pair(a, b, w2, w2s, q)
    c, d = forward_strict_pair(c, d, w3, w3s, q)
    store(at, a)
    store(second, b)
    store(third, c)
    store(fourth, d)


@njit(inline="always")
def _inverse_four(at, stride, w1, w1s, w2, w2s, w3, w3s, q):
    """Two inverse stages of four vectors `stride` bytes apart: w2 and w3 first, then w1."""
    second, third, fourth = uint64(at + stride), uint64(at + uint64(2) * stride), uint64(at + uint64(3) * stride)
    a, b = inverse_strict_pair(load(at), load(second), w2, w2s, q)
    c, d = inverse_strict_pair(load(third), load(fourth), w3, w3s, q)
    a, c = inverse_strict_pair(a, c, w1, w1s, q)
    b, d = inverse_strict_pair(b, d, w1, w1s, q)
    store(at, a)
    store(second, b)
    store(third, c)
    store(fourth, d)


@njit(inline="always")
def _transpose_all(source, source_row, target, target_row, blocks, source_step, target_step):
    """Transpose consecutive 16 x 16 blocks."""
    for block in range(blocks):
        transpose(
            uint64(source + uint64(block * source_step)),
            uint64(source_row),
            uint64(target + uint64(block * target_step)),
            uint64(target_row),
        )


@njit(nogil=True, cache=True)
def forward(x, scratch, roots, roots_shoup, tail, tail_shoup, prime):
    """In place, natural order in, bit-reversed order out. x, scratch: uint32 (n,), residues below the prime."""
    n = x.shape[0]
    base = uint64(x.ctypes.data)
    work = uint64(scratch.ctypes.data)
    q = splat(uint32(prime))
    t = n // 2
    m = 1
    while t >= 2 * COUNT:
        quarter = t // 2
        stride = uint64(4 * quarter)
        for i in range(m):
            w1, w1s = splat(roots[m + i]), splat(roots_shoup[m + i])
            w2, w2s = splat(roots[2 * (m + i)]), splat(roots_shoup[2 * (m + i)])
            w3, w3s = splat(roots[2 * (m + i) + 1]), splat(roots_shoup[2 * (m + i) + 1])
            at = uint64(base + uint64(8 * i * t))
            for _ in range(quarter // COUNT):
                _forward_four(at, stride, w1, w1s, w2, w2s, w3, w3s, q)
                at = uint64(at + uint64(_VECTOR_BYTES))
        t //= 4
        m *= 4
    if t == COUNT:
        for i in range(m):
            at = uint64(base + uint64(8 * i * t))
            below = uint64(at + uint64(_VECTOR_BYTES))
            a, b = forward_strict_pair(load(at), load(below), splat(roots[m + i]), splat(roots_shoup[m + i]), q)
            store(at, a)
            store(below, b)
    rows = n // COUNT
    row_bytes = 4 * rows
    roots_base, shoup_base = uint64(tail.ctypes.data), uint64(tail_shoup.ctypes.data)
    _transpose_all(base, _VECTOR_BYTES, work, row_bytes, rows // COUNT, 256 * 4, _VECTOR_BYTES)
    for chunk in range(rows // COUNT):
        shift = uint64(chunk * _VECTOR_BYTES)
        for column in range(4):
            at = uint64(work + uint64(column * row_bytes) + shift)
            _forward_four(
                at,
                uint64(4 * row_bytes),
                load(uint64(roots_base + shift)),
                load(uint64(shoup_base + shift)),
                load(uint64(roots_base + uint64(row_bytes) + shift)),
                load(uint64(shoup_base + uint64(row_bytes) + shift)),
                load(uint64(roots_base + uint64(2 * row_bytes) + shift)),
                load(uint64(shoup_base + uint64(2 * row_bytes) + shift)),
                q,
            )
        for group in range(4):
            at = uint64(work + uint64(4 * group * row_bytes) + shift)
            first = uint64(uint64((3 + group) * row_bytes) + shift)
            second = uint64(uint64((7 + 2 * group) * row_bytes) + shift)
            third = uint64(second + uint64(row_bytes))
            _forward_four(
                at,
                uint64(row_bytes),
                load(uint64(roots_base + first)),
                load(uint64(shoup_base + first)),
                load(uint64(roots_base + second)),
                load(uint64(shoup_base + second)),
                load(uint64(roots_base + third)),
                load(uint64(shoup_base + third)),
                q,
            )
    _transpose_all(work, row_bytes, base, _VECTOR_BYTES, rows // COUNT, _VECTOR_BYTES, 256 * 4)


@njit(nogil=True, cache=True)
def inverse(x, scratch, roots, roots_shoup, tail, tail_shoup, prime, n_inverse, n_inverse_shoup):
    """In place, bit-reversed order in, natural order out, divided by n."""
    n = x.shape[0]
    base = uint64(x.ctypes.data)
    work = uint64(scratch.ctypes.data)
    q = splat(uint32(prime))
    rows = n // COUNT
    row_bytes = 4 * rows
    roots_base, shoup_base = uint64(tail.ctypes.data), uint64(tail_shoup.ctypes.data)
    _transpose_all(base, _VECTOR_BYTES, work, row_bytes, rows // COUNT, 256 * 4, _VECTOR_BYTES)
    for chunk in range(rows // COUNT):
        shift = uint64(chunk * _VECTOR_BYTES)
        for group in range(4):
            at = uint64(work + uint64(4 * group * row_bytes) + shift)
            first = uint64(uint64((3 + group) * row_bytes) + shift)
            second = uint64(uint64((7 + 2 * group) * row_bytes) + shift)
            third = uint64(second + uint64(row_bytes))
            _inverse_four(
                at,
                uint64(row_bytes),
                load(uint64(roots_base + first)),
                load(uint64(shoup_base + first)),
                load(uint64(roots_base + second)),
                load(uint64(shoup_base + second)),
                load(uint64(roots_base + third)),
                load(uint64(shoup_base + third)),
                q,
            )
        for column in range(4):
            at = uint64(work + uint64(column * row_bytes) + shift)
            _inverse_four(
                at,
                uint64(4 * row_bytes),
                load(uint64(roots_base + shift)),
                load(uint64(shoup_base + shift)),
                load(uint64(roots_base + uint64(row_bytes) + shift)),
                load(uint64(shoup_base + uint64(row_bytes) + shift)),
                load(uint64(roots_base + uint64(2 * row_bytes) + shift)),
                load(uint64(shoup_base + uint64(2 * row_bytes) + shift)),
                q,
            )
    _transpose_all(work, row_bytes, base, _VECTOR_BYTES, rows // COUNT, _VECTOR_BYTES, 256 * 4)
    t = COUNT
    m = n // (2 * COUNT)
    log_n = 0
    while 1 << log_n < n:
        log_n += 1
    if log_n % 2 == 1:
        for i in range(m):
            at = uint64(base + uint64(8 * i * t))
            below = uint64(at + uint64(_VECTOR_BYTES))
            a, b = inverse_strict_pair(load(at), load(below), splat(roots[m + i]), splat(roots_shoup[m + i]), q)
            store(at, a)
            store(below, b)
        t *= 2
        m //= 2
    while m >= 1:
        half = m // 2
        stride = uint64(4 * t)
        for i in range(half):
            w1, w1s = splat(roots[half + i]), splat(roots_shoup[half + i])
            w2, w2s = splat(roots[2 * (half + i)]), splat(roots_shoup[2 * (half + i)])
            w3, w3s = splat(roots[2 * (half + i) + 1]), splat(roots_shoup[2 * (half + i) + 1])
            at = uint64(base + uint64(16 * i * t))
            for _ in range(t // COUNT):
                _inverse_four(at, stride, w1, w1s, w2, w2s, w3, w3s, q)
                at = uint64(at + uint64(_VECTOR_BYTES))
        t *= 4
        m //= 4
    factor, factor_shoup = splat(n_inverse), splat(n_inverse_shoup)
    at = base
    for _ in range(rows):
        store(at, reduced(multiply_lazy(load(at), factor, factor_shoup, q), q))
        at = uint64(at + uint64(_VECTOR_BYTES))


@njit(nogil=True, cache=True)
def inverse_all(values, scratch, roots, roots_shoup, tails, tails_shoup, constants):
    """`inverse` of every row of values (count, limbs, n) in one call, so that other threads run meanwhile.

    Tables by limb; constants: uint32 (limbs, 3) rows of q, 1/n mod q and its Shoup companion.
    """
    for index in range(values.shape[0]):
        for limb in range(values.shape[1]):
            inverse(
                values[index, limb],
                scratch,
                roots[limb],
                roots_shoup[limb],
                tails[limb],
                tails_shoup[limb],
                constants[limb, 0],
                constants[limb, 1],
                constants[limb, 2],
            )
