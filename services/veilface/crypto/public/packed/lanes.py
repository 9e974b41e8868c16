"""Kernels that run across 16 ciphertexts at once, so that every stage of every transform vectorises.

Arrays have the shape (n, 16): one polynomial of one limb of 16 ciphertexts. Each kernel is bit-exact with the operation
of SEAL's Evaluator that it is named after.
"""

from typing import Final

from numba import njit, uint32, uint64

from veilface.crypto.public.packed.multiply_add import reduce_wide
from veilface.crypto.public.packed.ntt import multiply_shoup

LANES: Final = 16


@njit(nogil=True, cache=True)
def forward(x, roots, roots_shoup, q):  # type: ignore[no-untyped-def]
    """Forward transform in place."""
    n = x.shape[0]
    t = n
    m = 1
    while m < n:
        t //= 2
        for i in range(m):
            w = roots[m + i]
            ws = roots_shoup[m + i]
            start = 2 * i * t
            for j in range(start, start + t):
                for lane in range(LANES):
                    u = x[j, lane]
                    v = multiply_shoup(x[j + t, lane], w, ws, q)
                    a = uint32(u + v)
                    b = uint32(u - v)
                    x[j, lane] = min(a, uint32(a - q))
                    x[j + t, lane] = min(b, uint32(b + q))
        m *= 2


@njit(nogil=True, cache=True)
def inverse(x, roots, roots_shoup, q, n_inverse, n_inverse_shoup):  # type: ignore[no-untyped-def]
    """Inverse transform in place, divided by n."""
    n = x.shape[0]
    t = 1
    m = n
    while m > 1:
        m //= 2
        for i in range(m):
            w = roots[m + i]
            ws = roots_shoup[m + i]
            start = 2 * i * t
            for j in range(start, start + t):
                for lane in range(LANES):
                    u = x[j, lane]
                    v = x[j + t, lane]
                    a = uint32(u + v)
                    b = uint32(u - v)
                    b = min(b, uint32(b + q))
                    x[j, lane] = min(a, uint32(a - q))
                    x[j + t, lane] = multiply_shoup(b, w, ws, q)
        t *= 2
    for j in range(n):
        for lane in range(LANES):
            x[j, lane] = multiply_shoup(x[j, lane], n_inverse, n_inverse_shoup, q)


@njit(nogil=True, cache=True)
def permute(x, permutation, out):  # type: ignore[no-untyped-def]
    """out[i] = x[permutation[i]]: an automorphism in the NTT domain."""
    for i in range(x.shape[0]):
        source = permutation[i]
        for lane in range(LANES):
            out[i, lane] = x[source, lane]


@njit(nogil=True, cache=True)
def reduce_into(x, q, one_shoup, shift, out):  # type: ignore[no-untyped-def]
    """out = (x + shift) mod q for residues x of another prime; shift in [0, q)."""
    for i in range(x.shape[0]):
        for lane in range(LANES):
            r = multiply_shoup(x[i, lane], uint32(1), one_shoup, q)
            r = uint32(r + shift)
            out[i, lane] = min(r, uint32(r - q))


@njit(nogil=True, cache=True)
def add_constant(x, constant, q):  # type: ignore[no-untyped-def]
    """x + constant mod q in place, for x and constant in [0, q)."""
    for i in range(x.shape[0]):
        for lane in range(LANES):
            r = uint32(x[i, lane] + constant)
            x[i, lane] = min(r, uint32(r - q))


@njit(nogil=True, cache=True)
def key_product(digits, key, q, constants, out):  # type: ignore[no-untyped-def]
    """out = sum over digits of digits[k] * key[k] mod q. digits: (K, n, 16); key: (K, n); K <= 4."""
    count = digits.shape[0]
    two32, two32_shoup, one_shoup = constants[1], constants[2], constants[3]
    for i in range(out.shape[0]):
        k0 = uint64(key[0, i])
        k1 = uint64(key[1, i])
        k2 = uint64(key[2, i])
        k3 = uint64(key[3, i]) if count > 3 else uint64(0)
        last = count - 1
        for lane in range(LANES):
            total = uint64(digits[0, i, lane]) * k0
            total += uint64(digits[1, i, lane]) * k1
            total += uint64(digits[2, i, lane]) * k2
            total += uint64(digits[last, i, lane]) * k3
            out[i, lane] = reduce_wide(total, q, two32, two32_shoup, one_shoup)


@njit(nogil=True, cache=True)
def divide_difference(x, correction, q, factor, factor_shoup):  # type: ignore[no-untyped-def]
    """x = (x - correction) * factor mod q in place: the end of a division by a prime."""
    for i in range(x.shape[0]):
        for lane in range(LANES):
            d = uint32(x[i, lane] - correction[i, lane])
            d = min(d, uint32(d + q))
            x[i, lane] = multiply_shoup(d, factor, factor_shoup, q)


@njit(nogil=True, cache=True)
def split_pair(x, rotated, monomial, monomial_shoup, q, odd):  # type: ignore[no-untyped-def]
    """(x, odd) = (x + rotated, (x - rotated) * monomial) mod q: one level of the expansion. monomial: (n,)."""
    for i in range(x.shape[0]):
        w = monomial[i]
        ws = monomial_shoup[i]
        for lane in range(LANES):
            u = x[i, lane]
            v = rotated[i, lane]
            a = uint32(u + v)
            b = uint32(u - v)
            b = min(b, uint32(b + q))
            x[i, lane] = min(a, uint32(a - q))
            odd[i, lane] = multiply_shoup(b, w, ws, q)


@njit(nogil=True, cache=True)
def add_arrays(x, y, q):  # type: ignore[no-untyped-def]
    """x = x + y mod q in place."""
    for i in range(x.shape[0]):
        for lane in range(LANES):
            r = uint32(x[i, lane] + y[i, lane])
            x[i, lane] = min(r, uint32(r - q))
