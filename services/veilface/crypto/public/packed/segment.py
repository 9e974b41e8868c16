"""Packed references: one ciphertext per coordinate, one template per coefficient.

Slot k lies at coefficient (k mod m) D + k // m with m = n / D, so that the templates of consecutive slots stack
into one polynomial and are expanded together.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.expand import expand, expanded_count
from veilface.crypto.public.packed.kernels import pointwise, tiles
from veilface.crypto.public.packed.kernels.tiles import GROUP, GROUPS, LANES, WORDS, block_count
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32, U64, prime_ring, shoup
from veilface.crypto.public.packed.space import coordinate_count


@lru_cache(maxsize=16)
def _all_positions(coordinates: int, degree: int) -> NDArray[np.intp]:
    slots = np.arange(degree)
    stride = expanded_count(coordinates)
    stacked = degree // stride
    positions: NDArray[np.intp] = (slots % stacked) * stride + slots // stacked
    positions.flags.writeable = False
    return positions


def coefficient_positions(slots: NDArray[np.intp], coordinates: int, degree: int) -> NDArray[np.intp]:
    """Where the slots lie in the polynomial."""
    return _all_positions(coordinates, degree)[slots]


class PackedSegment:
    """One segment: residues in dense tiles, uint64 of `segment_shape`."""

    def __init__(self, space: TemplateSpace, keys: EvaluationKeys, tiles: U64 | None = None) -> None:
        self.profile: PackedProfile = keys.profile
        self.space = space
        self.coordinates = coordinate_count(space, keys.profile)
        self._keys = keys
        shape = segment_shape(self.profile, self.coordinates)
        self.tiles: U64 = np.zeros(shape, dtype=np.uint64) if tiles is None else tiles

    @property
    def capacity(self) -> int:
        """How many slots there are: the ring degree."""
        return self.profile.degree

    @property
    def memory_bytes(self) -> int:
        """How much memory the residues take: 13 bytes per coordinate and slot with two limbs; see `segment_bytes`."""
        return int(self.tiles.nbytes)

    def add(self, ciphertext: bytes, slot: int) -> None:
        """See `Segment.add`."""
        self.add_many([ciphertext], [slot])

    def subtract(self, ciphertext: bytes, slot: int) -> None:
        """See `Segment.subtract`."""
        self._combine([ciphertext], [slot], negative=True)

    def add_many(self, ciphertexts: Sequence[bytes], slots: Sequence[int]) -> None:
        """Add templates into empty slots; consecutive slots share the work of an expansion."""
        self._combine(ciphertexts, slots, negative=False)

    def _combine(self, ciphertexts: Sequence[bytes], slots: Sequence[int], *, negative: bool) -> None:
        if any(not 0 <= slot < self.capacity for slot in slots):
            raise InvalidArgumentError(Reason.INVALID_FIELD, f"a segment has the slots 0 to {self.capacity - 1}")
        if not self.tiles.flags.writeable:
            self.tiles = self.tiles.copy()
        stride = expanded_count(self.coordinates)
        positions = coefficient_positions(np.array(slots, dtype=np.intp), self.coordinates, self.profile.degree)
        by_shift: dict[int, list[int]] = {}
        for index, position in enumerate(positions):
            by_shift.setdefault(int(position) % stride, []).append(index)
        for shift, indices in by_shift.items():
            stacked = self._stack(
                [ciphertexts[index] for index in indices], [int(positions[i]) - shift for i in indices]
            )
            expanded = expand(stacked, self.coordinates, self._keys, self.profile.segment_log_scale)
            self._add_expanded(expanded, shift, negative=negative)

    def _stack(self, ciphertexts: list[bytes], exponents: list[int]) -> U32:
        profile = self.profile
        total = np.zeros((2, profile.template_limbs, profile.degree), dtype=np.uint32)
        primes = np.array(profile.data_primes, dtype=np.uint32)[:, None]
        for ciphertext, exponent in zip(ciphertexts, exponents, strict=True):
            residues = wire.read_template(profile, self.coordinates, TemplateUse.REFERENCE, ciphertext)
            if exponent:
                shifted = np.empty_like(residues)
                for limb, prime in enumerate(profile.data_primes):
                    monomial = prime_ring(prime, profile.degree).monomial(exponent)
                    pointwise.multiply_rows(
                        residues[:, limb], monomial, shoup(monomial, prime), np.uint32(prime), shifted[:, limb]
                    )
                residues = shifted
            total += residues
            total = np.minimum(total, total - primes)
        return total

    def _add_expanded(self, expanded: U32, exponent: int, *, negative: bool) -> None:
        profile = self.profile
        primes = profile.data_primes[: profile.segment_limbs]
        rows = [prime_ring(prime, profile.degree).monomial(exponent) for prime in primes]
        companions = [shoup(row, prime) for row, prime in zip(rows, primes, strict=True)]
        pointwise.accumulate_shifted(
            self.tiles,
            expanded,
            np.concatenate(rows).reshape(-1, LANES),
            np.concatenate(companions).reshape(-1, LANES),
            np.array(primes, dtype=np.uint32),
            profile.degree // LANES,
            negative,
        )

    def to_bytes(self) -> bytes:
        """See `Segment.to_bytes`."""
        return write_segment(self.profile, self.coordinates, self.tiles)

    @classmethod
    def from_bytes(cls, space: TemplateSpace, keys: EvaluationKeys, data: bytes | memoryview) -> "PackedSegment":
        """Parse strictly, without copying: the segment keeps `data` alive. Raises InvalidCiphertextError."""
        profile = keys.profile
        return cls(space, keys, read_segment(profile, coordinate_count(space, profile), data))


def segment_shape(profile: PackedProfile, coordinates: int) -> tuple[int, int, int, int, int]:
    """The shape of a segment's residues, see `kernels.tiles`: uint64 (tiles, blocks of 16 coordinates, 4, 13, 8)."""
    return profile.segment_limbs * profile.degree // LANES, block_count(coordinates), GROUPS, WORDS, GROUP


def segment_bytes(profile: PackedProfile, coordinates: int) -> int:
    """How many bytes a segment's residues take: 26 bits each, with the coordinates rounded up to a multiple of 16."""
    return np.dtype(np.uint64).itemsize * math.prod(segment_shape(profile, coordinates))


def _header(profile: PackedProfile, coordinates: int) -> wire.Header:
    return wire.Header(wire.Kind.SEGMENT, 2, profile.segment_limbs, profile.segment_log_scale, coordinates)


def write_segment(profile: PackedProfile, coordinates: int, residues: U64) -> bytes:
    """A serialized segment from residues of `segment_shape`."""
    payload = np.ascontiguousarray(residues, dtype="<u8").data.cast("B")
    return wire.write(profile, _header(profile, coordinates), payload)


def read_segment(profile: PackedProfile, coordinates: int, data: bytes | memoryview) -> U64:
    """The residues of a serialized segment, a view of `data` of `segment_shape`. Raises InvalidCiphertextError."""
    payload = wire.read(profile, _header(profile, coordinates), segment_bytes(profile, coordinates), data)
    residues = np.frombuffer(payload, dtype="<u8").reshape(segment_shape(profile, coordinates))
    primes = np.array(profile.data_primes[: profile.segment_limbs], dtype=np.uint32)
    found = tiles.check_tiles(residues.ctypes.data, coordinates, primes, profile.degree // LANES)
    if found == tiles.NOT_REDUCED:
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "a residue is not below its prime")
    if found == tiles.NOT_ZERO_FILLED:
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "a coordinate behind the last one is not zero")
    return residues


def segment_ciphertexts(profile: PackedProfile, residues: U64, block: int) -> U32:
    """The ciphertexts of one block of coordinates, uint32 (16, 2, segment_limbs, n) in the NTT domain."""
    limbs, degree = profile.segment_limbs, profile.degree
    out: U32 = np.empty((tiles.BLOCK, 2, limbs * degree), dtype=np.uint32)
    tiles.unpack_coordinates(residues.ctypes.data, residues.shape[0], residues.shape[1], block, out)
    return out.reshape(tiles.BLOCK, 2, limbs, degree)
