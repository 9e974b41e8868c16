"""The matching service's side of `ckks-packed`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import PreparedProbe, PublicMaterial, Segment, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.compare import tensor_product
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.expand import expand
from veilface.crypto.public.packed.kernels.multiply_add import LANES, SCRATCH, multiply_add, weigh
from veilface.crypto.public.packed.parallel import run_parts, split, worker_count
from veilface.crypto.public.packed.plaintext_probe import WeighedProbe, read_plaintext_probe
from veilface.crypto.public.packed.profiles import packed_profile
from veilface.crypto.public.packed.ring import U32, addresses, reduction_constants
from veilface.crypto.public.packed.scores import search_format, verify_format, weighed_format, write_scores
from veilface.crypto.public.packed.segment import PackedSegment
from veilface.crypto.public.packed.space import coordinate_count

# Bounds the memory for products; the probe's tiles are read again for each group, a few percent of the traffic.
_SEGMENTS_PER_PASS: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class ExpandedProbe:
    """A probe as one ciphertext per coordinate, in tiles: uint32 (tiles, coordinates, 2, 32)."""

    tiles: U32
    coordinates: int


class PackedComparer:
    """Compares templates under the evaluation keys of one key version. Safe for concurrent use."""

    supports_search = True

    def __init__(self, material: PublicMaterial) -> None:
        self.profile = packed_profile(material.profile)
        self._keys = EvaluationKeys.from_bytes(self.profile, material.evaluation_keys)

    @classmethod
    def with_keys(cls, keys: EvaluationKeys) -> Self:
        """A comparer with keys that are parsed already."""
        comparer = cls.__new__(cls)
        comparer.profile, comparer._keys = keys.profile, keys
        return comparer

    def check_template(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> None:
        """See `TemplateComparer.check_template`."""
        coordinates = coordinate_count(space, self.profile)
        if use is TemplateUse.PLAINTEXT_PROBE:
            read_plaintext_probe(ciphertext, coordinates, self.profile)
        else:
            wire.read_template(self.profile, coordinates, use, ciphertext)

    def compare(self, reference: bytes, probe: bytes, space: TemplateSpace) -> bytes:
        """See `TemplateComparer.compare`."""
        profile = self.profile
        coordinates = coordinate_count(space, profile)
        product = tensor_product(
            wire.read_template(profile, coordinates, TemplateUse.REFERENCE, reference),
            wire.read_template(profile, coordinates, TemplateUse.PROBE, probe),
            profile,
        )
        return write_scores(product, coordinates, None, verify_format(profile), profile)

    def prepare_probe(
        self, probe: bytes, space: TemplateSpace, use: TemplateUse = TemplateUse.PROBE
    ) -> ExpandedProbe | WeighedProbe:
        """Expand a probe, unless it is in the clear: see `TemplateComparer.prepare_probe`."""
        coordinates = coordinate_count(space, self.profile)
        if use is TemplateUse.PLAINTEXT_PROBE:
            return read_plaintext_probe(probe, coordinates, self.profile)
        residues = wire.read_template(self.profile, coordinates, TemplateUse.PROBE, probe)
        expanded = expand(residues, coordinates, self._keys)
        return ExpandedProbe(np.ascontiguousarray(expanded[:, ::-1]), coordinates)

    def new_segment(self, space: TemplateSpace) -> PackedSegment:
        """See `TemplateComparer.new_segment`."""
        return PackedSegment(space, self._keys)

    def segment_from_bytes(self, data: bytes | memoryview, space: TemplateSpace) -> PackedSegment:
        """See `TemplateComparer.segment_from_bytes`."""
        return PackedSegment.from_bytes(space, self._keys, data)

    def search(
        self, probe: PreparedProbe, segments: Sequence[Segment], slots: Sequence[NDArray[np.intp]]
    ) -> list[bytes]:
        """See `TemplateComparer.search`."""
        return self.search_many([probe], segments, slots)[0]

    def search_many(
        self, probes: Sequence[PreparedProbe], segments: Sequence[Segment], slots: Sequence[NDArray[np.intp]]
    ) -> list[list[bytes]]:
        """Search for several probes in one pass over the segments: the score ciphertexts by probe, then segment."""
        weighed = [probe for probe in probes if isinstance(probe, WeighedProbe)]
        if weighed and len(weighed) == len(probes):
            return [self._weigh(probe, segments, slots) for probe in weighed]
        profile = self.profile
        expanded = [probe for probe in probes if isinstance(probe, ExpandedProbe)]
        packed = [segment for segment in segments if isinstance(segment, PackedSegment)]
        coordinates = {probe.coordinates for probe in expanded} | {segment.coordinates for segment in packed}
        if len(expanded) != len(probes) or len(packed) != len(segments) or len(coordinates) > 1:
            raise InvalidArgumentError(Reason.WRONG_DIMENSION, "probes and segments must be of one template space")
        if not packed:
            return [[] for _ in probes]
        (count,) = coordinates
        form = search_format(profile)
        results: list[list[bytes]] = [[b""] * len(packed) for _ in expanded]
        for first in range(0, len(packed), _SEGMENTS_PER_PASS):
            products = self._products(expanded, packed[first : first + _SEGMENTS_PER_PASS], count)

            def finish(p: int, s: int, products: U32 = products, first: int = first) -> None:
                results[p][first + s] = write_scores(products[p, s], count, slots[first + s], form, profile)

            run_parts([partial(finish, p, s) for p in range(len(expanded)) for s in range(products.shape[1])])
        return results

    def _weigh(
        self, probe: WeighedProbe, segments: Sequence[Segment], slots: Sequence[NDArray[np.intp]]
    ) -> list[bytes]:
        profile = self.profile
        limbs = profile.segment_limbs
        packed = [segment for segment in segments if isinstance(segment, PackedSegment)]
        if len(packed) != len(segments) or any(segment.coordinates != probe.coordinates for segment in packed):
            raise InvalidArgumentError(Reason.WRONG_DIMENSION, "probe and segments must be of one template space")
        tiles = limbs * profile.degree // LANES
        out: U32 = np.empty((len(packed), 2, tiles * LANES), dtype=np.uint32)
        segment_addresses = addresses([segment.tiles for segment in packed])
        constants = reduction_constants(profile.data_primes[:limbs])

        def score(first: int, last: int) -> None:
            sums = np.empty(SCRATCH, dtype=np.uint64)
            tiles_per_limb = profile.degree // LANES
            count = probe.coordinates
            weigh(probe.weights, segment_addresses, count, first, last, tiles_per_limb, constants, sums, out)

        run_parts([partial(score, first, last) for first, last in split(tiles, worker_count())])
        form = weighed_format(profile)
        results = [b""] * len(packed)

        def finish(s: int) -> None:
            product = out[s].reshape(2, limbs, profile.degree)
            results[s] = write_scores(product, probe.coordinates, slots[s], form, profile)

        run_parts([partial(finish, s) for s in range(len(packed))])
        return results

    def _products(self, probes: list[ExpandedProbe], segments: list[PackedSegment], coordinates: int) -> U32:
        """The score ciphertexts before rescaling, uint32 (P, S, 3, segment_limbs, n) in the NTT domain."""
        profile = self.profile
        limbs = profile.segment_limbs
        tiles = limbs * profile.degree // LANES
        out: U32 = np.empty((len(probes), len(segments), 3, tiles * LANES), dtype=np.uint32)
        probe_addresses = addresses([probe.tiles for probe in probes])
        segment_addresses = addresses([segment.tiles for segment in segments])
        constants = reduction_constants(profile.data_primes[:limbs])

        def score(first: int, last: int) -> None:
            sums = np.empty(SCRATCH, dtype=np.uint64)
            multiply_add(
                probe_addresses,
                segment_addresses,
                coordinates,
                first,
                last,
                profile.degree // LANES,
                constants,
                sums,
                out,
            )

        run_parts([partial(score, first, last) for first, last in split(tiles, worker_count())])
        return out.reshape(len(probes), len(segments), 3, limbs, profile.degree)
