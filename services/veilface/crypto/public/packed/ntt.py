"""Number-theoretic transforms of residues below 2^31, bit-exact with SEAL's.

Cooley-Tukey forward and Gentleman-Sande inverse with merged powers of the 2n-th root (Longa and Naehrig 2016), Shoup
multiplication by constants, every butterfly fully reduced. One polynomial at a time; `lanes` has the kernels that run
across many.
"""

import numpy as np
from numba import njit, uint32, uint64

from veilface.crypto.public.packed.ring import U32, PrimeRing


@njit(inline="always")
def multiply_shoup(x, w, w_shoup, q):  # type: ignore[no-untyped-def]
    """x * w mod q for a constant w with its Shoup companion; x < 2^32, result in [0, q)."""
    high = (uint64(x) * uint64(w_shoup)) >> uint64(32)
    r = uint32(uint64(x) * uint64(w) - high * uint64(q))
    return min(r, uint32(r - q))


@njit(nogil=True, cache=True)
def forward(x, roots, roots_shoup, q):  # type: ignore[no-untyped-def]
    """In place, natural order in, bit-reversed order out. x: uint32 (n,), residues below q."""
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
                u = x[j]
                v = multiply_shoup(x[j + t], w, ws, q)
                a = uint32(u + v)
                b = uint32(u - v)
                x[j] = min(a, uint32(a - q))
                x[j + t] = min(b, uint32(b + q))
        m *= 2


@njit(nogil=True, cache=True)
def inverse(x, roots, roots_shoup, q, n_inverse, n_inverse_shoup):  # type: ignore[no-untyped-def]
    """In place, bit-reversed order in, natural order out, divided by n."""
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
                u = x[j]
                v = x[j + t]
                a = uint32(u + v)
                b = uint32(u - v)
                b = min(b, uint32(b + q))
                x[j] = min(a, uint32(a - q))
                x[j + t] = multiply_shoup(b, w, ws, q)
        t *= 2
    for j in range(n):
        x[j] = multiply_shoup(x[j], n_inverse, n_inverse_shoup, q)


def to_ntt(coefficients: U32, ring: PrimeRing) -> U32:
    """Transform (n,) residues in place and return them."""
    forward(coefficients, ring.forward, ring.forward_shoup, np.uint32(ring.prime))
    return coefficients


def from_ntt(values: U32, ring: PrimeRing) -> U32:
    """Transform (n,) values back in place and return them."""
    n_inverse = ring.degree_inverse
    n_inverse_shoup = (n_inverse << 32) // ring.prime
    inverse(
        values,
        ring.inverse,
        ring.inverse_shoup,
        np.uint32(ring.prime),
        np.uint32(n_inverse),
        np.uint32(n_inverse_shoup),
    )
    return values
