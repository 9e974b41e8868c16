"""Residues in and out of tiles, and the kernels of a pass on tiles."""

import numpy as np

from veilface.crypto.public.packed.kernels.multiply_add import SCRATCH, multiply_add, weigh
from veilface.crypto.public.packed.kernels.tiles import BLOCK, GROUP, GROUPS, LANES, WORDS, block_count
from veilface.crypto.public.packed.profiles import RESIDUE_BITS, PackedProfile
from veilface.crypto.public.packed.ring import U32, U64, addresses, reduction_constants
from veilface.crypto.public.packed.segment import read_segment, segment_ciphertexts


def tile(residues: U32) -> U32:
    """Ciphertexts (d, 2, limbs, n) as tiles of a probe, (limbs * n / 32, d rounded up to 16, 2, 32)."""
    d, _, limbs, n = residues.shape
    rows = np.zeros((BLOCK * block_count(d), 2, limbs * n // LANES, LANES), dtype=np.uint32)
    rows[:d] = residues.reshape(d, 2, -1, LANES)
    return np.ascontiguousarray(rows.transpose(2, 0, 1, 3))


def dense(tiles: U32) -> U64:
    """The same tiles as of packed references, by the definition: bit by bit, lane by lane."""
    blocks = tiles.reshape(tiles.shape[0], -1, 2 * BLOCK, LANES)
    bits = np.unpackbits(blocks.astype("<u4")[..., None].view(np.uint8), axis=-1, bitorder="little")[..., :RESIDUE_BITS]
    by_lane = np.ascontiguousarray(bits.transpose(0, 1, 3, 2, 4)).reshape(*blocks.shape[:2], LANES, -1)
    words = np.packbits(by_lane, axis=-1, bitorder="little").view("<u8")
    by_group = words.reshape(*blocks.shape[:2], GROUPS, GROUP, WORDS).transpose(0, 1, 2, 4, 3)
    return np.ascontiguousarray(by_group, dtype=np.uint64)


def segment_residues(data: bytes, coordinates: int, profile: PackedProfile) -> U32:
    """The residues of a serialized segment, (coordinates, 2, segment_limbs, n)."""
    residues = read_segment(profile, coordinates, data)
    blocks = [segment_ciphertexts(profile, residues, block) for block in range(residues.shape[1])]
    return np.concatenate(blocks)[:coordinates]


def multiply_add_products(probes: list[U32], segments: list[U64], primes: tuple[int, ...], degree: int) -> U32:
    """The kernel on tiles of probes and dense tiles of references, uint32 (P, S, 3, limbs, n)."""
    out = np.empty((len(probes), len(segments), 3, probes[0].shape[0] * LANES), dtype=np.uint32)
    multiply_add(
        addresses(probes),
        addresses(segments),
        segments[0].shape[1],
        0,
        segments[0].shape[0],
        degree // LANES,
        reduction_constants(primes),
        np.empty(SCRATCH, dtype=np.uint64),
        out,
    )
    return out.reshape(len(probes), len(segments), 3, len(primes), degree)


def weighed_sums(weights: U64, segments: list[U64], primes: tuple[int, ...], degree: int) -> U32:
    """The kernel for weights (P, limbs, 16 * blocks) on dense tiles, uint32 (P, S, 2, limbs, n)."""
    out = np.empty((weights.shape[0], len(segments), 2, segments[0].shape[0] * LANES), dtype=np.uint32)
    weigh(
        weights,
        addresses(segments),
        segments[0].shape[1],
        0,
        segments[0].shape[0],
        degree // LANES,
        reduction_constants(primes),
        np.empty(SCRATCH, dtype=np.uint64),
        out,
    )
    return out.reshape(weights.shape[0], len(segments), 2, len(primes), degree)
