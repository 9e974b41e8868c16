"""Transforms of polynomials between the coefficient and the NTT domain."""

from functools import lru_cache

import numpy as np

from veilface.crypto.public.packed.kernels import ntt
from veilface.crypto.public.packed.ring import U32, PrimeRing, prime_ring


def to_ntt(coefficients: U32, ring: PrimeRing) -> U32:
    """Transform contiguous (n,) residues in place and return them."""
    ntt.forward(
        coefficients,
        np.empty(ring.degree, dtype=np.uint32),
        ring.forward,
        ring.forward_shoup,
        ring.forward_tail,
        ring.forward_tail_shoup,
        np.uint32(ring.prime),
    )
    return coefficients


def from_ntt(values: U32, ring: PrimeRing) -> U32:
    """Transform contiguous (n,) values back in place and return them."""
    n_inverse = ring.degree_inverse
    ntt.inverse(
        values,
        np.empty(ring.degree, dtype=np.uint32),
        ring.inverse,
        ring.inverse_shoup,
        ring.inverse_tail,
        ring.inverse_tail_shoup,
        np.uint32(ring.prime),
        np.uint32(n_inverse),
        np.uint32((n_inverse << 32) // ring.prime),
    )
    return values


@lru_cache(maxsize=16)
def _inverse_tables(primes: tuple[int, ...], degree: int) -> tuple[U32, U32, U32, U32, U32]:
    rings = [prime_ring(prime, degree) for prime in primes]
    inverses = [(ring.prime, ring.degree_inverse, (ring.degree_inverse << 32) // ring.prime) for ring in rings]
    return (
        np.stack([ring.inverse for ring in rings]),
        np.stack([ring.inverse_shoup for ring in rings]),
        np.stack([ring.inverse_tail for ring in rings]),
        np.stack([ring.inverse_tail_shoup for ring in rings]),
        np.array(inverses, dtype=np.uint32),
    )


def all_from_ntt(values: U32, primes: tuple[int, ...]) -> U32:
    """Transform contiguous values (count, limbs, n), one prime per limb, back in place and return them."""
    degree = values.shape[2]
    ntt.inverse_all(values, np.empty(degree, dtype=np.uint32), *_inverse_tables(primes, degree))
    return values
