"""Transforms that run across 16 ciphertexts at once: every stage of every transform fills the vector registers.

A polynomial of one limb of 16 ciphertexts is a uint32 array (n, 16), given by its address. Butterflies are radix 4,
so a transform passes half as often over memory. Those for data primes (below 2^26.1) are lazy: nothing is reduced
on the way forward, because 13 stages add at most 26 q to an input below 2^31 + 2^26, which still fits 32 bits.
"""

from typing import Final

from numba import njit, uint32, uint64

from veilface.crypto.public.packed.kernels.butterflies import (
    forward_strict_pair,
    inverse_lazy_pair,
    inverse_strict_pair,
    reduced,
)
from veilface.crypto.public.packed.kernels.vector import COUNT as LANES
from veilface.crypto.public.packed.kernels.vector import add, load, multiply_lazy, splat, store, subtract

ROW_BYTES: Final = 4 * LANES


@njit(nogil=True, cache=True)
def forward_lazy(source, target, n, shift, roots, roots_shoup, prime):
    """target = forward transform of (source + shift), not reduced: lanes below 2^32. source may be target."""
    q = splat(uint32(prime))
    q2 = splat(uint32(2 * prime))
    offset = splat(uint32(shift))
    t = n
    m = 1
    origin = uint64(source)
    while 4 * m <= n:
        t //= 4
        stride = uint64(t * ROW_BYTES)
        for i in range(m):
            w1, w1s = splat(roots[m + i]), splat(roots_shoup[m + i])
            w2, w2s = splat(roots[2 * (m + i)]), splat(roots_shoup[2 * (m + i)])
            w3, w3s = splat(roots[2 * (m + i) + 1]), splat(roots_shoup[2 * (m + i) + 1])
            at = uint64(4 * i * t * ROW_BYTES)
            for _ in range(t):
                a = add(load(uint64(origin + at)), offset)
                b = add(load(uint64(origin + at + stride)), offset)
                c = add(load(uint64(origin + at + uint64(2) * stride)), offset)
                d = add(load(uint64(origin + at + uint64(3) * stride)), offset)
                c = multiply_lazy(c, w1, w1s, q)
                d = multiply_lazy(d, w1, w1s, q)
                e = subtract(add(a, q2), c)
                a = add(a, c)
                f = multiply_lazy(subtract(add(b, q2), d), w3, w3s, q)
                b = multiply_lazy(add(b, d), w2, w2s, q)
                store(uint64(target + at), add(a, b))
                store(uint64(target + at + stride), subtract(add(a, q2), b))
                store(uint64(target + at + uint64(2) * stride), add(e, f))
                store(uint64(target + at + uint64(3) * stride), subtract(add(e, q2), f))
                at = uint64(at + uint64(ROW_BYTES))
        origin = uint64(target)
        offset = splat(uint32(0))
        m *= 4
    if m < n:
        for i in range(m):
            w, ws = splat(roots[m + i]), splat(roots_shoup[m + i])
            at = uint64(target + uint64(2 * i * ROW_BYTES))
            a = load(at)
            b = multiply_lazy(load(uint64(at + uint64(ROW_BYTES))), w, ws, q)
            store(at, add(a, b))
            store(uint64(at + uint64(ROW_BYTES)), subtract(add(a, q2), b))


@njit(nogil=True, cache=True)
def forward_strict(source, target, n, roots, roots_shoup, prime):
    """target = forward transform of source for any prime below 2^31; lanes in [0, q) in and out."""
    q = splat(uint32(prime))
    t = n
    m = 1
    origin = uint64(source)
    while 4 * m <= n:
        t //= 4
        stride = uint64(t * ROW_BYTES)
        for i in range(m):
            w1, w1s = splat(roots[m + i]), splat(roots_shoup[m + i])
            w2, w2s = splat(roots[2 * (m + i)]), splat(roots_shoup[2 * (m + i)])
            w3, w3s = splat(roots[2 * (m + i) + 1]), splat(roots_shoup[2 * (m + i) + 1])
            at = uint64(4 * i * t * ROW_BYTES)
            for _ in range(t):
                a, c = forward_strict_pair(
                    load(uint64(origin + at)), load(uint64(origin + at + uint64(2) * stride)), w1, w1s, q
                )
                b, d = forward_strict_pair(
                    load(uint64(origin + at + stride)), load(uint64(origin + at + uint64(3) * stride)), w1, w1s, q
                )
                a, b = forward_strict_pair(a, b, w2, w2s, q)
                c, d = forward_strict_pair(c, d, w3, w3s, q)
                store(uint64(target + at), a)
                store(uint64(target + at + stride), b)
                store(uint64(target + at + uint64(2) * stride), c)
                store(uint64(target + at + uint64(3) * stride), d)
                at = uint64(at + uint64(ROW_BYTES))
        origin = uint64(target)
        m *= 4
    if m < n:
        for i in range(m):
            at = uint64(target + uint64(2 * i * ROW_BYTES))
            a, b = forward_strict_pair(
                load(at), load(uint64(at + uint64(ROW_BYTES))), splat(roots[m + i]), splat(roots_shoup[m + i]), q
            )
            store(at, a)
            store(uint64(at + uint64(ROW_BYTES)), b)


@njit(inline="always")
def _inverse_pair(a, b, w, ws, q, q2, strict):
    if strict:
        return inverse_strict_pair(a, b, w, ws, q)
    return inverse_lazy_pair(a, b, w, ws, q, q2)


@njit(inline="always")
def _inverse(target, n, roots, roots_shoup, constants, shift, strict):
    prime, n_inverse, n_inverse_shoup = constants[0], constants[4], constants[5]
    q = splat(uint32(prime))
    q2 = splat(uint32(2 * prime))
    t = 1
    m = n
    log_n = 0
    while 1 << log_n < n:
        log_n += 1
    if log_n % 2 == 1:
        m //= 2
        for i in range(m):
            at = uint64(target + uint64(2 * i * ROW_BYTES))
            below = uint64(at + uint64(ROW_BYTES))
            w, ws = splat(roots[m + i]), splat(roots_shoup[m + i])
            a, b = _inverse_pair(load(at), load(below), w, ws, q, q2, strict)
            store(at, a)
            store(below, b)
        t = 2
    while m > 1:
        m //= 4
        stride = uint64(t * ROW_BYTES)
        for i in range(m):
            w1, w1s = splat(roots[m + i]), splat(roots_shoup[m + i])
            w2, w2s = splat(roots[2 * (m + i)]), splat(roots_shoup[2 * (m + i)])
            w3, w3s = splat(roots[2 * (m + i) + 1]), splat(roots_shoup[2 * (m + i) + 1])
            at = uint64(target + uint64(4 * i * t * ROW_BYTES))
            for _ in range(t):
                second = uint64(at + stride)
                third = uint64(second + stride)
                fourth = uint64(third + stride)
                a, b = _inverse_pair(load(at), load(second), w2, w2s, q, q2, strict)
                c, d = _inverse_pair(load(third), load(fourth), w3, w3s, q, q2, strict)
                a, c = _inverse_pair(a, c, w1, w1s, q, q2, strict)
                b, d = _inverse_pair(b, d, w1, w1s, q, q2, strict)
                store(at, a)
                store(second, b)
                store(third, c)
                store(fourth, d)
                at = uint64(at + uint64(ROW_BYTES))
        t *= 4
    factor, factor_shoup = splat(n_inverse), splat(n_inverse_shoup)
    offset = splat(uint32(shift))
    at = uint64(target)
    for _ in range(n):
        value = reduced(multiply_lazy(load(at), factor, factor_shoup, q), q)
        store(at, reduced(add(value, offset), q))
        at = uint64(at + uint64(ROW_BYTES))


@njit(nogil=True, cache=True)
def inverse_lazy(target, n, roots, roots_shoup, constants, shift):
    """target = inverse transform + shift, in place, for a data prime; lanes in [0, 2q) in, [0, q) out."""
    _inverse(target, n, roots, roots_shoup, constants, shift, False)


@njit(nogil=True, cache=True)
def inverse_strict(target, n, roots, roots_shoup, constants, shift):
    """The same for any prime below 2^31; lanes in [0, q) in and out."""
    _inverse(target, n, roots, roots_shoup, constants, shift, True)
