"""One pass of several probes over packed segments: each segment's tile is read once, whatever the number of probes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from veilface.crypto.public.packed.kernels.multiply_add import SCRATCH, multiply_add, weigh
from veilface.crypto.public.packed.kernels.tiles import LANES, block_count
from veilface.crypto.public.packed.parallel import run_parts, split, worker_count
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32, U64, addresses, reduction_constants
from veilface.crypto.public.packed.segment import PackedSegment


@dataclass(frozen=True, slots=True, eq=False)
class ExpandedProbe:
    """A probe as one ciphertext per coordinate, in tiles: uint32 (tiles, padded coordinates, 2, 32), see `expand`."""

    tiles: U32
    coordinates: int


@dataclass(frozen=True, slots=True, eq=False)
class WeighedProbe:
    """A plaintext probe as residues, uint64 (segment_limbs, padded coordinates), see `weight_residues`."""

    weights: U64
    coordinates: int


def expanded_products(
    probes: Sequence[ExpandedProbe], segments: Sequence[PackedSegment], profile: PackedProfile
) -> U32:
    """The score ciphertexts before rescaling, uint32 (P, S, 3, segment_limbs, n) in the NTT domain."""
    where = addresses([probe.tiles for probe in probes])
    return _products(partial(multiply_add, where), (len(probes), len(segments), 3), segments, profile)


def weighed_products(probes: Sequence[WeighedProbe], segments: Sequence[PackedSegment], profile: PackedProfile) -> U32:
    """The same for plaintext probes, uint32 (P, S, 2, segment_limbs, n)."""
    weights = np.stack([probe.weights for probe in probes])
    return _products(partial(weigh, weights), (len(probes), len(segments), 2), segments, profile)


def _products(
    kernel: Callable[..., None], shape: tuple[int, int, int], segments: Sequence[PackedSegment], profile: PackedProfile
) -> U32:
    limbs, tiles_per_limb = profile.segment_limbs, profile.degree // LANES
    out: U32 = np.empty((*shape, limbs * profile.degree), dtype=np.uint32)
    where = addresses([segment.tiles for segment in segments])
    blocks = block_count(segments[0].coordinates)
    constants = reduction_constants(profile.data_primes[:limbs])

    def score(first: int, last: int) -> None:
        sums = np.empty(SCRATCH, dtype=np.uint64)
        kernel(where, blocks, first, last, tiles_per_limb, constants, sums, out)

    run_parts([partial(score, *bounds) for bounds in split(limbs * tiles_per_limb, worker_count())])
    return out.reshape(*shape, limbs, profile.degree)
