"""Scalar arithmetic modulo primes below 2^31."""

from numba import njit, uint32, uint64


@njit(inline="always")
def multiply_shoup(x, w, w_shoup, q):
    """x * w mod q for a constant w with its Shoup companion; x < 2^32, result in [0, q)."""
    high = (uint64(x) * uint64(w_shoup)) >> uint64(32)
    r = uint32(uint64(x) * uint64(w) - high * uint64(q))
    return min(r, uint32(r - q))


@njit(inline="always")
def reduce_wide(x, q, two32, two32_shoup, one_shoup):
    """x mod q for x < 2^64 and q < 2^31; two32 = 2^32 mod q."""
    high = uint64(x) >> uint64(32)
    low = uint64(x) & uint64(0xFFFFFFFF)
    a = uint32(high * uint64(two32) - ((high * uint64(two32_shoup)) >> uint64(32)) * uint64(q))
    a = min(a, uint32(a - q))
    b = uint32(low - ((low * uint64(one_shoup)) >> uint64(32)) * uint64(q))
    b = min(b, uint32(b - q))
    total = uint32(a + b)
    return min(total, uint32(total - q))
