"""The matching service's side of `ckks-packed`."""

from collections.abc import Sequence
from functools import partial
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import PreparedProbe, PublicMaterial, Segment, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.compare import plaintext_product, tensor_product
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.expand import expand
from veilface.crypto.public.packed.parallel import run_parts, split, worker_count
from veilface.crypto.public.packed.plaintext_probe import read_plaintext_probe, weight_polynomial, weight_residues
from veilface.crypto.public.packed.profiles import PackedProfile, packed_profile
from veilface.crypto.public.packed.ring import U32
from veilface.crypto.public.packed.scores import (
    ScoreFormat,
    rescaled,
    search_format,
    verify_format,
    weighed_format,
    weighed_verify_format,
    write_scores,
)
from veilface.crypto.public.packed.search import ExpandedProbe, WeighedProbe, expanded_products, weighed_products
from veilface.crypto.public.packed.segment import PackedSegment
from veilface.crypto.public.packed.space import coordinate_count

# Bounds the memory for products; the probe's tiles are read again for each group, a few percent of the traffic.
_SEGMENTS_PER_PASS: Final = 64


class PackedComparer:
    """Compares templates under the evaluation keys of one key version. Safe for concurrent use."""

    supports_search = True
    plaintext_probes_share_a_pass = True

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
        residues = wire.read_template(profile, coordinates, TemplateUse.REFERENCE, reference)
        if wire.is_of_kind(probe, wire.Kind.PLAINTEXT_PROBE):
            weights = read_plaintext_probe(probe, coordinates, profile)
            product = plaintext_product(residues, weight_polynomial(weights, profile), profile)
            form = weighed_verify_format(profile)
        else:
            probe_residues = wire.read_template(profile, coordinates, TemplateUse.PROBE, probe)
            product = tensor_product(residues, probe_residues, profile)
            form = verify_format(profile)
        (values,) = rescaled(product[None], form, profile)
        return write_scores(values, coordinates, None, form, profile)

    def prepare_probe(
        self, probe: bytes, space: TemplateSpace, use: TemplateUse = TemplateUse.PROBE
    ) -> ExpandedProbe | WeighedProbe:
        """Expand a probe, unless it is in the clear: see `TemplateComparer.prepare_probe`."""
        coordinates = coordinate_count(space, self.profile)
        if use is TemplateUse.PLAINTEXT_PROBE:
            weights = read_plaintext_probe(probe, coordinates, self.profile)
            return WeighedProbe(weight_residues(weights, self.profile.segment_limbs, self.profile), coordinates)
        residues = wire.read_template(self.profile, coordinates, TemplateUse.PROBE, probe)
        tiles = expand(residues, coordinates, self._keys, self.profile.probe_log_scale, reverse=True)
        return ExpandedProbe(tiles, coordinates)

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
        profile = self.profile
        packed = [segment for segment in segments if isinstance(segment, PackedSegment)]
        expanded = [probe for probe in probes if isinstance(probe, ExpandedProbe)]
        weighed = [probe for probe in probes if isinstance(probe, WeighedProbe)]
        known: list[ExpandedProbe | WeighedProbe | PackedSegment] = [*expanded, *weighed, *packed]
        coordinates = {each.coordinates for each in known}
        if len(packed) != len(segments) or len(coordinates) > 1 or len(probes) not in (len(expanded), len(weighed)):
            raise InvalidArgumentError(
                Reason.WRONG_DIMENSION, "probes and segments must be of one template space, and probes of one kind"
            )
        results: list[list[bytes]] = [[] for _ in probes]
        if not probes or not packed:
            return results
        form = search_format(profile) if expanded else weighed_format(profile)
        (count,) = coordinates
        for first in range(0, len(packed), _SEGMENTS_PER_PASS):
            group = slice(first, first + _SEGMENTS_PER_PASS)
            if expanded:
                products = expanded_products(expanded, packed[group], profile)
            else:
                products = weighed_products(weighed, packed[group], profile)
            for answers, written in zip(results, _written(products, count, slots[group], form, profile), strict=True):
                answers += written
        return results


def _written(
    products: U32, coordinates: int, slots: Sequence[NDArray[np.intp]], form: ScoreFormat, profile: PackedProfile
) -> list[list[bytes]]:
    """Products (probes, segments, polynomials, limbs, n) as score ciphertexts, by probe, then segment."""
    probes, segments = products.shape[:2]
    flat: U32 = products.reshape(probes * segments, *products.shape[2:])
    written = [b""] * len(flat)

    def write(begin: int, end: int) -> None:
        # One call for many: threads that return to Python after each would wait for one another.
        for index, values in enumerate(rescaled(flat[begin:end], form, profile), begin):
            written[index] = write_scores(values, coordinates, slots[index % segments], form, profile)

    run_parts([partial(write, *bounds) for bounds in split(len(flat), worker_count())])
    return [written[p * segments : (p + 1) * segments] for p in range(probes)]
