"""Residues in and out of tiles, and the kernels of a pass on tiles."""

import numpy as np

from veilface.crypto.public.packed.kernels.multiply_add import LANES, SCRATCH, multiply_add, weigh
from veilface.crypto.public.packed.ring import U32, U64, addresses, reduction_constants


def tile(residues: U32) -> U32:
    """Ciphertexts (d, 2, limbs, n) as tiles (limbs * n / 32, d, 2, 32)."""
    d, _, limbs, n = residues.shape
    return np.ascontiguousarray(residues.reshape(d, 2, limbs * n // LANES, LANES).transpose(2, 0, 1, 3))


def multiply_add_products(probes: list[U32], segments: list[U32], primes: tuple[int, ...], degree: int) -> U32:
    """The kernel on tiles, uint32 (P, S, 3, limbs, n)."""
    out = np.empty((len(probes), len(segments), 3, probes[0].shape[0] * LANES), dtype=np.uint32)
    multiply_add(
        addresses(probes),
        addresses(segments),
        probes[0].shape[1],
        0,
        probes[0].shape[0],
        degree // LANES,
        reduction_constants(primes),
        np.empty(SCRATCH, dtype=np.uint64),
        out,
    )
    return out.reshape(len(probes), len(segments), 3, len(primes), degree)


def weighed_sums(weights: U64, segments: list[U32], primes: tuple[int, ...], degree: int) -> U32:
    """The kernel for weights (P, limbs, d) on tiles, uint32 (P, S, 2, limbs, n)."""
    out = np.empty((weights.shape[0], len(segments), 2, segments[0].shape[0] * LANES), dtype=np.uint32)
    weigh(
        weights,
        addresses(segments),
        weights.shape[2],
        0,
        segments[0].shape[0],
        degree // LANES,
        reduction_constants(primes),
        np.empty(SCRATCH, dtype=np.uint64),
        out,
    )
    return out.reshape(weights.shape[0], len(segments), 2, len(primes), degree)
