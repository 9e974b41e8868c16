"""Transforms of single polynomials between the coefficient and the NTT domain."""

import numpy as np

from veilface.crypto.public.packed.kernels import ntt
from veilface.crypto.public.packed.ring import U32, PrimeRing


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
