"""The rings Z_q[X]/(X^n + 1) of a profile: roots of unity, monomials and automorphisms in the NTT domain.

The order of values in the NTT domain is SEAL's (bit-reversed powers of the least primitive 2n-th root of unity), so
that residues can be exchanged with SEAL unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


def shoup(values: NDArray[np.unsignedinteger], prime: int) -> U32:
    """floor(value * 2^32 / prime): the companion that makes a multiplication by a constant cheap (Shoup)."""
    return ((values.astype(np.uint64) << np.uint64(32)) // np.uint64(prime)).astype(np.uint32)


def bit_reverse(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Each value with its lowest `bits` bits in reverse order."""
    reversed_values = np.zeros_like(values)
    for bit in range(bits):
        reversed_values |= ((values >> bit) & 1) << (bits - 1 - bit)
    return reversed_values


def least_primitive_root(prime: int, order: int) -> int:
    """The least element of multiplicative order exactly `order` (a power of two) modulo `prime`."""
    generator = 2
    while True:
        root = pow(generator, (prime - 1) // order, prime)
        if pow(root, order // 2, prime) == prime - 1:
            break
        generator += 1
    square = root * root % prime
    least = current = root
    for _ in range(order // 2 - 1):
        current = current * square % prime
        least = min(least, current)
    return least


@dataclass(frozen=True, slots=True, eq=False)
class PrimeRing:
    """One prime with its tables, each of shape (n,); the tails are those of `kernels.ntt`, (15, n / 16)."""

    prime: int
    degree: int
    root: int
    forward: U32
    forward_shoup: U32
    inverse: U32
    inverse_shoup: U32
    forward_tail: U32
    forward_tail_shoup: U32
    inverse_tail: U32
    inverse_tail_shoup: U32
    degree_inverse: int
    powers: U64
    slot_exponents: NDArray[np.int64]

    def monomial(self, exponent: int) -> U32:
        """X^exponent in the NTT domain, shape (n,); any integer exponent."""
        index = self.slot_exponents * (exponent % (2 * self.degree)) % (2 * self.degree)
        return self.powers[index].astype(np.uint32)


def _tail(roots: U32) -> U32:
    """The roots of the last four stages, by position inside a row of 16, then by row."""
    rows = roots.size // 16
    row = np.arange(rows)
    return np.array([roots[(rows + row << stage) + h] for stage in range(4) for h in range(1 << stage)])


@lru_cache(maxsize=32)
def prime_ring(prime: int, degree: int) -> PrimeRing:
    """The tables of one prime at one ring degree."""
    log_degree = degree.bit_length() - 1
    root = least_primitive_root(prime, 2 * degree)
    powers = np.empty(2 * degree, dtype=np.uint64)
    value = 1
    for exponent in range(2 * degree):
        powers[exponent] = value
        value = value * root % prime
    index = bit_reverse(np.arange(degree, dtype=np.int64), log_degree)
    forward = powers[index].astype(np.uint32)
    inverse = powers[(2 * degree - index) % (2 * degree)].astype(np.uint32)
    return PrimeRing(
        prime=prime,
        degree=degree,
        root=root,
        forward=forward,
        forward_shoup=shoup(forward, prime),
        inverse=inverse,
        inverse_shoup=shoup(inverse, prime),
        forward_tail=_tail(forward),
        forward_tail_shoup=_tail(shoup(forward, prime)),
        inverse_tail=_tail(inverse),
        inverse_tail_shoup=_tail(shoup(inverse, prime)),
        degree_inverse=pow(degree, -1, prime),
        powers=powers,
        slot_exponents=2 * index + 1,
    )


@lru_cache(maxsize=64)
def automorphism(degree: int, galois_element: int) -> NDArray[np.int64]:
    """The permutation that X -> X^galois_element is in the NTT domain: result[i] = operand[permutation[i]]."""
    log_degree = degree.bit_length() - 1
    exponents = 2 * bit_reverse(np.arange(degree, dtype=np.int64), log_degree) + 1
    return bit_reverse((galois_element * exponents >> 1) % degree, log_degree)


def addresses(arrays: Sequence[U32] | Sequence[U64]) -> NDArray[np.int64]:
    """Where the arrays begin in memory."""
    return np.array([array.ctypes.data for array in arrays], dtype=np.int64)


def reduction_constants(primes: tuple[int, ...]) -> U32:
    """Rows of q, 2^32 mod q and the Shoup companions of that and of 1; shape (primes, 4)."""
    rows = [(q, (1 << 32) % q, (((1 << 32) % q) << 32) // q, (1 << 32) // q) for q in primes]
    return np.array(rows, dtype=np.uint32)
