"""Butterflies on sixteen lanes: forward (Cooley-Tukey) and inverse (Gentleman-Sande), strict and lazy."""

from numba import njit

from veilface.crypto.public.packed.kernels.vector import add, minimum, multiply_lazy, subtract


@njit(inline="always")
def reduced(x, q):
    """x mod q for lanes in [0, 2q), q < 2^31."""
    return minimum(x, subtract(x, q))


@njit(inline="always")
def forward_strict_pair(a, b, w, ws, q):
    """The forward butterfly with reduced results."""
    product = reduced(multiply_lazy(b, w, ws, q), q)
    difference = subtract(a, product)
    return reduced(add(a, product), q), minimum(difference, add(difference, q))


@njit(inline="always")
def inverse_lazy_pair(a, b, w, ws, q, q2):
    """The inverse butterfly on [0, 2q), for 4q below 2^32."""
    total = add(a, b)
    return minimum(total, subtract(total, q2)), multiply_lazy(subtract(add(a, q2), b), w, ws, q)


@njit(inline="always")
def inverse_strict_pair(a, b, w, ws, q):
    """The inverse butterfly on [0, q), for 2q below 2^32."""
    difference = subtract(a, b)
    difference = minimum(difference, add(difference, q))
    return reduced(add(a, b), q), reduced(multiply_lazy(difference, w, ws, q), q)
