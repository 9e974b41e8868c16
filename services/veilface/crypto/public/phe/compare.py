"""The matching service's side of the partially homomorphic schemes.

THE MATCHER SEES THE PROBE: it is the plaintext tower of the papers' two-tower protocol (see `encrypt`). References and
scores stay encrypted.

A response is multiplied by a fresh encryption of zero, uniform also for who knows the factors of n. Without that its
randomness would be a product of powers of the references' randomness, from which the holder of the secret key could
work out weights, and recognise equal queries. Its plaintext is the scores asked for and random digits (see `slots`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, PreparedProbe, Segment, TemplateSpace, TemplateUse
from veilface.crypto.public.phe import wire
from veilface.crypto.public.phe.encoding import Encoder
from veilface.crypto.public.phe.encrypt import require_plaintext_probe
from veilface.crypto.public.phe.lanes import LaneModulus, Steps, addresses, steps_by_lane
from veilface.crypto.public.phe.montgomery import LANES
from veilface.crypto.public.phe.public_key import PhePublicKey
from veilface.crypto.public.phe.randomness import ZeroSource
from veilface.crypto.public.phe.segment import Packed, PheSegment
from veilface.crypto.public.phe.slots import SlotLayout
from veilface.crypto.public.phe.weights import Rows, WeightPlan, multiply_out, plan_weights, quotient


@dataclass(frozen=True, slots=True, eq=False)
class PlannedProbe:
    """A probe with its plan of multiplications, and its squared norm."""

    space: TemplateSpace
    plan: WeightPlan
    squared_norm: int

    @property
    def constant(self) -> int:
        """What is added to every score."""
        return self.squared_norm if self.space.metric is Metric.SQUARED_EUCLIDEAN else 0

    def scores(self, positive: list[mpz], negative: list[mpz], last_coordinates: list[mpz], modulus: mpz) -> list[mpz]:
        """Score ciphertexts from the products of the positive and negative weights and from the last coordinates.

        Squared Euclidean: |g - q|^2 = |g|^2 - 2 g q + |q|^2, where |g|^2 is the last coordinate of a reference.
        """
        if self.space.metric is Metric.COSINE:
            return quotient(positive, negative, modulus)
        inverses = quotient(negative, positive, modulus)
        return [
            inverse * inverse % modulus * last % modulus
            for inverse, last in zip(inverses, last_coordinates, strict=True)
        ]


class PheComparer:
    """Compares encrypted references with plaintext probes under one public key. Safe for concurrent use."""

    supports_search = True

    def __init__(self, key: PhePublicKey) -> None:
        self.key = key
        self._lanes = LaneModulus(key.modulus)
        self._encoder = Encoder(key, self._lanes)
        self._zeros = ZeroSource(key, self._lanes, key.response_exponent_bits)

    def check_template(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> None:
        """See `TemplateComparer.check_template`."""
        require_plaintext_probe(use)
        if use is TemplateUse.PLAINTEXT_PROBE:
            wire.read_probe(self.key, space, ciphertext)
        else:
            wire.read_reference(self.key, space, ciphertext)

    def compare(self, reference: bytes, probe: bytes, space: TemplateSpace) -> bytes:
        """See `TemplateComparer.compare`."""
        planned = self.prepare_probe(probe, space)
        ciphertexts = wire.read_reference(self.key, space, reference)
        modulus = self.key.modulus
        positive = multiply_out(planned.plan.positive, ciphertexts, modulus)
        negative = multiply_out(planned.plan.negative, ciphertexts, modulus)
        products = planned.scores([positive], [negative], ciphertexts[-1:], modulus)
        score = self._finish(products, [planned.constant])[0]
        return wire.write(
            self.key, wire.Header(wire.Kind.VERIFY_SCORE, space, 1), wire.write_integers(self.key, [score])
        )

    def prepare_probe(
        self, probe: bytes, space: TemplateSpace, use: TemplateUse = TemplateUse.PLAINTEXT_PROBE
    ) -> PlannedProbe:
        """See `TemplateComparer.prepare_probe`; the probe is in the clear."""
        require_plaintext_probe(use)
        integers = wire.read_probe(self.key, space, probe)
        return PlannedProbe(space, plan_weights(integers), int(integers @ integers))

    def new_segment(self, space: TemplateSpace) -> PheSegment:
        """See `TemplateComparer.new_segment`."""
        return PheSegment(space, self.key, self._lanes)

    def segment_from_bytes(self, data: bytes | memoryview, space: TemplateSpace) -> PheSegment:
        """See `TemplateComparer.segment_from_bytes`."""
        return PheSegment.from_bytes(space, self.key, self._lanes, data)

    def search(
        self, probe: PreparedProbe, segments: Sequence[Segment], slots: Sequence[NDArray[np.intp]]
    ) -> list[bytes]:
        """See `TemplateComparer.search`.

        Raises:
            InvalidArgumentError: WRONG_DIMENSION if probe and segments are not of one space; INVALID_FIELD if a slot is
                empty, or none is given for a segment.
        """
        own = [segment for segment in segments if isinstance(segment, PheSegment)]
        if not isinstance(probe, PlannedProbe) or len(own) != len(segments):
            raise InvalidArgumentError(Reason.WRONG_DIMENSION, "probe and segments must be of one scheme and space")
        if any(segment.space != probe.space for segment in own):
            raise InvalidArgumentError(Reason.WRONG_DIMENSION, "probe and segments must be of one template space")
        packed = [segment.packed() for segment in own]
        constants = [
            _constant(probe.constant, segment.layout, held.occupied, shown)
            for segment, held, shown in zip(own, packed, slots, strict=True)
        ]
        responses = self._finish(self._products(probe, packed), constants)
        return [
            self._write(segment, shown, response)
            for segment, shown, response in zip(own, slots, responses, strict=True)
        ]

    def search_many(
        self, probes: Sequence[PreparedProbe], segments: Sequence[Segment], slots: Sequence[NDArray[np.intp]]
    ) -> list[list[bytes]]:
        """See `TemplateComparer.search_many`. Probes share nothing here: it is one search after another."""
        return [self.search(probe, segments, slots) for probe in probes]

    def _products(self, probe: PlannedProbe, segments: Sequence[Packed]) -> list[mpz]:
        """The packed scores of every segment, eight segments to a program."""
        tables = [segment.rows for segment in segments]
        where = [addresses(table) for table in tables]
        tiles = [np.stack(_padded(where[first : first + LANES])) for first in range(0, len(where), LANES)]
        sides: list[Rows] = [probe.plan.positive, probe.plan.negative]
        programs = [steps_by_lane(side, tile) for side in sides for tile in tiles]
        results = self._lanes.run(programs, folded=True).reshape(2, -1, self._lanes.limbs)
        positive, negative = (self._lanes.integers(side[: len(tables)]) for side in results)
        last_coordinates = self._lanes.integers(np.stack([table[-1] for table in tables]))
        return probe.scores(positive, negative, last_coordinates, self.key.modulus)

    def _finish(self, products: list[mpz], constants: list[int]) -> list[mpz]:
        """Add the constants, then fresh encryptions of zero."""
        modulus = self.key.modulus
        encoded = self._encoder.encode(constants)
        zeros = self._zeros.take(len(products))
        return [
            product * constant % modulus * zero % modulus
            for product, constant, zero in zip(products, encoded, zeros, strict=True)
        ]

    def _write(self, segment: PheSegment, shown: NDArray[np.intp], response: mpz) -> bytes:
        header = wire.Header(wire.Kind.SEARCH_SCORES, segment.space, len(shown))
        positions = wire.write_positions(segment.capacity, shown)
        return wire.write(self.key, header, positions + wire.write_integers(self.key, [response]))


def _constant(constant: int, layout: SlotLayout, occupied: NDArray[np.intp], shown: NDArray[np.intp]) -> int:
    """What is added to the packed scores: the probe's constant to every template's, and what masks all but the shown.

    Hidden templates need the constant as well: without it their scores may be negative, and borrow from shown ones.
    """
    if len(shown) == 0 or not np.isin(shown, occupied).all() or (np.diff(shown) <= 0).any():
        raise InvalidArgumentError(Reason.INVALID_FIELD, "the slots to score must be occupied and ascending")
    return layout.same_in(occupied.tolist(), constant) + layout.mask(occupied.tolist(), shown.tolist())


def _padded(tables: list[Steps]) -> list[Steps]:
    """Eight tables; the first one again in the lanes that are left."""
    return tables + tables[:1] * (LANES - len(tables))
