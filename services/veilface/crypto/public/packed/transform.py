"""Transforms of single polynomials between the coefficient and the NTT domain."""

import numpy as np

from veilface.crypto.public.packed.kernels import ntt
from veilface.crypto.public.packed.ring import U32, PrimeRing


def to_ntt(coefficients: U32, ring: PrimeRing) -> U32:
    """Transform (n,) residues in place and return them."""
    ntt.forward(coefficients, ring.forward, ring.forward_shoup, np.uint32(ring.prime))
    return coefficients


def from_ntt(values: U32, ring: PrimeRing) -> U32:
    """Transform (n,) values back in place and return them."""
    n_inverse = ring.degree_inverse
    n_inverse_shoup = (n_inverse << 32) // ring.prime
    ntt.inverse(
        values,
        ring.inverse,
        ring.inverse_shoup,
        np.uint32(ring.prime),
        np.uint32(n_inverse),
        np.uint32(n_inverse_shoup),
    )
    return values
