"""One level of the expansion for 16 ciphertexts: automorphism, key switching, sum and shifted difference.

Bit-exact with SEAL's apply_galois, add, sub and multiplication by a monomial. Residues are reduced on entry and on
exit of each stage; in between they are as lazy as 32 bits allow.

Arrays: state and odd uint32 (2, limbs, n, 16); key uint32 (2, primes, digits, n); transforms uint32 (primes, 4, n)
with forward roots, their Shoup companions, inverse roots, their companions; constants uint32 (primes, 6) rows of q,
2^32 mod q, the Shoup companions of that and of 1, 1/n and its companion; division uint32 (limbs, 3) rows of
1/divisor mod q, its companion and -(divisor // 2) mod q.
"""

from typing import Final

from numba import njit, uint32, uint64

from veilface.crypto.public.packed.kernels.butterflies import reduced
from veilface.crypto.public.packed.kernels.lanes import (
    ROW_BYTES,
    forward_lazy,
    forward_strict,
    inverse_lazy,
    inverse_strict,
)
from veilface.crypto.public.packed.kernels.vector import COUNT as LANES
from veilface.crypto.public.packed.kernels.vector import (
    add,
    add_wide,
    high,
    load,
    low,
    minimum,
    multiply_lazy,
    product,
    splat,
    store,
    subtract,
)

# A multiple of a data prime that is larger than any lazy residue, but leaves room for one more below 2^32.
_LAZY_MULTIPLE: Final = 63


@njit(inline="always")
def _row(array_address, n, index):
    """The address of the index-th (n, 16) block."""
    return uint64(array_address + uint64(index * n * ROW_BYTES))


@njit(nogil=True, cache=True)
def decompose(state, permutation, limb, transforms, constants, digits, rotated):
    """digits[limb] = the rotated second polynomial's residues as coefficients; rotated[limb] = the rotated first."""
    limbs, n = state.shape[1], state.shape[2]
    source = uint64(state.ctypes.data)
    target = _row(uint64(digits.ctypes.data), n, limb)
    first = _row(source, n, limb)
    second = _row(source, n, limbs + limb)
    copy = _row(uint64(rotated.ctypes.data), n, limb)
    for i in range(n):
        at = uint64(permutation[i] * ROW_BYTES)
        here = uint64(i * ROW_BYTES)
        store(uint64(target + here), load(uint64(second + at)))
        store(uint64(copy + here), load(uint64(first + at)))
    inverse_lazy(target, n, transforms[limb, 2], transforms[limb, 3], constants[limb], 0)


@njit(inline="always")
def _reduced_wide(total, q, two32, two32_shoup, one, one_shoup):
    """64-bit lanes mod q."""
    a = reduced(multiply_lazy(high(total), two32, two32_shoup, q), q)
    b = reduced(multiply_lazy(low(total), one, one_shoup, q), q)
    return reduced(add(a, b), q)


@njit(nogil=True, cache=True)
def switch(state, permutation, prime, key, transforms, constants, digits, scratch, products):
    """products[:, prime] = digits times the key switching key modulo one prime, reduced. scratch: (digits, n, 16)."""
    limbs, n = state.shape[1], state.shape[2]
    primes = limbs + 1
    digit_base = uint64(digits.ctypes.data)
    scratch_base = uint64(scratch.ctypes.data)
    q_value = constants[prime, 0]
    for digit in range(limbs):
        target = _row(scratch_base, n, digit)
        if digit == prime:
            second = _row(uint64(state.ctypes.data), n, limbs + digit)
            for i in range(n):
                value = load(uint64(second + uint64(permutation[i] * ROW_BYTES)))
                store(uint64(target + uint64(i * ROW_BYTES)), value)
        elif prime < limbs:
            forward_lazy(_row(digit_base, n, digit), target, n, 0, transforms[prime, 0], transforms[prime, 1], q_value)
        else:
            forward_strict(_row(digit_base, n, digit), target, n, transforms[prime, 0], transforms[prime, 1], q_value)
    q = splat(q_value)
    two32, two32_shoup = splat(constants[prime, 1]), splat(constants[prime, 2])
    one, one_shoup = splat(uint32(1)), splat(constants[prime, 3])
    out = uint64(products.ctypes.data)
    first = _row(out, n, prime)
    second = _row(out, n, primes + prime)
    for i in range(n):
        here = uint64(i * ROW_BYTES)
        value = load(uint64(scratch_base + here))
        total0 = product(value, splat(key[0, prime, 0, i]))
        total1 = product(value, splat(key[1, prime, 0, i]))
        for digit in range(1, limbs):
            value = load(uint64(_row(scratch_base, n, digit) + here))
            total0 = add_wide(total0, product(value, splat(key[0, prime, digit, i])))
            total1 = add_wide(total1, product(value, splat(key[1, prime, digit, i])))
        store(uint64(first + here), _reduced_wide(total0, q, two32, two32_shoup, one, one_shoup))
        store(uint64(second + here), _reduced_wide(total1, q, two32, two32_shoup, one, one_shoup))


@njit(nogil=True, cache=True)
def lift(values, polynomial, last, transforms, constants):
    """Bring the limb that is divided away to coefficients, plus half of its prime, so that the division rounds."""
    n = values.shape[2]
    target = _row(uint64(values.ctypes.data), n, polynomial * values.shape[1] + last)
    half = constants[last, 0] // uint32(2)
    inverse_strict(target, n, transforms[last, 2], transforms[last, 3], constants[last], half)


@njit(inline="always")
def _divided(value, correction, q, multiple, factor, factor_shoup):
    """(value - correction) * factor mod q."""
    return reduced(multiply_lazy(subtract(add(value, multiple), correction), factor, factor_shoup, q), q)


@njit(nogil=True, cache=True)
def divide(values, polynomial, limb, last, division, transforms, constants, correction):
    """values[polynomial, limb] = values / prime of limb `last`, lifted before; reduced. correction: (n, 16) scratch."""
    n = values.shape[2]
    base = uint64(values.ctypes.data)
    source = _row(base, n, polynomial * values.shape[1] + last)
    scratch = uint64(correction.ctypes.data)
    q_value = constants[limb, 0]
    forward_lazy(source, scratch, n, division[limb, 2], transforms[limb, 0], transforms[limb, 1], q_value)
    q = splat(q_value)
    multiple = splat(uint32(_LAZY_MULTIPLE * q_value))
    factor, factor_shoup = splat(division[limb, 0]), splat(division[limb, 1])
    target = _row(base, n, polynomial * values.shape[1] + limb)
    for i in range(n):
        here = uint64(i * ROW_BYTES)
        at = uint64(target + here)
        store(at, _divided(load(at), load(uint64(scratch + here)), q, multiple, factor, factor_shoup))


@njit(nogil=True, cache=True)
def divide_and_split(
    state, products, rotated, polynomial, limb, division, monomial, transforms, constants, correction, odd
):
    """The end of a level: divide the key switched polynomial by the special prime, then sum and shifted difference.

    state[polynomial, limb] becomes the even half, odd[polynomial, limb] the odd one. monomial: uint32 (limbs, 2, n).
    """
    limbs, n = state.shape[1], state.shape[2]
    special = limbs
    lifted = _row(uint64(products.ctypes.data), n, polynomial * (limbs + 1) + special)
    scratch = uint64(correction.ctypes.data)
    q_value = constants[limb, 0]
    forward_lazy(lifted, scratch, n, division[limb, 2], transforms[limb, 0], transforms[limb, 1], q_value)
    q = splat(q_value)
    multiple = splat(uint32(_LAZY_MULTIPLE * q_value))
    factor, factor_shoup = splat(division[limb, 0]), splat(division[limb, 1])
    source = _row(uint64(products.ctypes.data), n, polynomial * (limbs + 1) + limb)
    first = _row(uint64(rotated.ctypes.data), n, limb)
    even = _row(uint64(state.ctypes.data), n, polynomial * limbs + limb)
    target = _row(uint64(odd.ctypes.data), n, polynomial * limbs + limb)
    for i in range(n):
        here = uint64(i * ROW_BYTES)
        value = _divided(load(uint64(source + here)), load(uint64(scratch + here)), q, multiple, factor, factor_shoup)
        if polynomial == 0:
            value = reduced(add(value, load(uint64(first + here))), q)
        present = load(uint64(even + here))
        store(uint64(even + here), reduced(add(present, value), q))
        difference = subtract(present, value)
        difference = minimum(difference, add(difference, q))
        w, ws = splat(monomial[limb, 0, i]), splat(monomial[limb, 1, i])
        store(uint64(target + here), reduced(multiply_lazy(difference, w, ws, q), q))


@njit(nogil=True, cache=True)
def split_chunk(
    state, permutation, key, division, monomial, transforms, constants, digits, rotated, scratch, products, odd
):
    """A whole level for one chunk on one thread."""
    limbs = state.shape[1]
    for limb in range(limbs):
        decompose(state, permutation, limb, transforms, constants, digits, rotated)
    for prime in range(limbs + 1):
        switch(state, permutation, prime, key, transforms, constants, digits, scratch, products)
    for polynomial in range(2):
        lift(products, polynomial, limbs, transforms, constants)
        for limb in range(limbs):
            divide_and_split(
                state, products, rotated, polynomial, limb, division, monomial, transforms, constants, scratch[0], odd
            )


@njit(nogil=True, cache=True)
def shift_lanes(state, odd, count):
    """Move the first `count` lanes of odd behind the first `count` lanes of state."""
    for polynomial in range(state.shape[0]):
        for limb in range(state.shape[1]):
            for i in range(state.shape[2]):
                for lane in range(min(count, LANES - count)):
                    state[polynomial, limb, i, count + lane] = odd[polynomial, limb, i, lane]
