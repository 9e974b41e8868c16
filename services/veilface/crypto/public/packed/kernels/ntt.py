"""Number-theoretic transforms of residues below 2^31, bit-exact with SEAL's.

Cooley-Tukey forward and Gentleman-Sande inverse with merged powers of the 2n-th root (Longa and Naehrig 2016), Shoup
multiplication by constants, every butterfly fully reduced. One polynomial at a time; `lanes` has the kernels that run
across many.
"""

from numba import njit, uint32

from veilface.crypto.public.packed.kernels.arithmetic import multiply_shoup


@njit(nogil=True, cache=True)
def forward(x, roots, roots_shoup, q):
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
def inverse(x, roots, roots_shoup, q, n_inverse, n_inverse_shoup):
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
