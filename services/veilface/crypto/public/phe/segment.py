"""Packed references: one ciphertext per coordinate, one template per slot of its plaintext.

A template joins slot t by its ciphertexts raised to 2^(b t), which multiplies it by 2^(b t) in plaintext. Templates
that join between two searches are packed together by Horner's rule, from the highest slot down: the squarings of a
slot serve every template above it, so that filling a segment costs as many squarings as its highest slot alone.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.phe import wire
from veilface.crypto.public.phe.lanes import U64, LaneModulus, Steps, addresses
from veilface.crypto.public.phe.montgomery import LANES, SQUARE
from veilface.crypto.public.phe.public_key import PhePublicKey
from veilface.crypto.public.phe.quantization import coordinate_count
from veilface.crypto.public.phe.slots import SlotLayout, slot_layout


@dataclass(frozen=True, slots=True, eq=False)
class _Joining:
    """A template, or the inverse of one, that is not packed yet: its ciphertexts in row form."""

    slot: int
    rows: U64


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """What a segment held at one moment.

    Attributes:
        rows: Every template, in row form: uint64 (coordinates, limbs).
        occupied: The slots that hold one, ascending.
    """

    rows: U64
    occupied: NDArray[np.intp]


class PheSegment:
    """One segment. Safe for concurrent use."""

    def __init__(self, space: TemplateSpace, key: PhePublicKey, lanes: LaneModulus) -> None:
        self.space = space
        self.layout: SlotLayout = slot_layout(key.profile, space)
        self._key = key
        self._lanes = lanes
        self._lock = threading.Lock()
        self._occupied = np.zeros(self.layout.capacity, dtype=np.bool_)
        self._joining: list[_Joining] = []
        self._rows: U64 = lanes.rows([mpz(1)] * coordinate_count(space))

    @property
    def capacity(self) -> int:
        """How many slots there are."""
        return self.layout.capacity

    @property
    def memory_bytes(self) -> int:
        """How much memory the rows take."""
        return self._rows.nbytes * (1 + len(self._joining))

    @property
    def occupied(self) -> NDArray[np.intp]:
        """The slots that hold a template, ascending."""
        return np.flatnonzero(self._occupied)

    def add(self, ciphertext: bytes, slot: int) -> None:
        """See `Segment.add`.

        Raises:
            InvalidCiphertextError: if it is not a reference of this space and key.
            InvalidArgumentError: INVALID_FIELD if the slot is taken or there is none such.
        """
        self.layout.check(slot)
        rows = self._lanes.rows(wire.read_reference(self._key, self.space, ciphertext))
        with self._lock:
            self._change(slot, occupied=True)
            self._joining.append(_Joining(slot, rows))

    def add_many(self, ciphertexts: Sequence[bytes], slots: Sequence[int]) -> None:
        """See `Segment.add_many`. The templates before one that is refused stay."""
        for ciphertext, slot in zip(ciphertexts, slots, strict=True):
            self.add(ciphertext, slot)

    def subtract(self, ciphertext: bytes, slot: int) -> None:
        """See `Segment.subtract`. Raises as `add` does; the slot must hold a template."""
        self.layout.check(slot)
        ciphertexts = wire.read_reference(self._key, self.space, ciphertext)
        rows = self._lanes.rows([gmpy2.invert(value, self._key.modulus) for value in ciphertexts])
        with self._lock:
            self._change(slot, occupied=False)
            self._joining.append(_Joining(slot, rows))

    def packed(self) -> Packed:
        """What it holds now: rows and slots of the same moment, so that no template of the rows stays unmasked."""
        with self._lock:
            if self._joining:
                self._rows = self._packed_rows()
                self._joining = []
            return Packed(self._rows, self.occupied)

    def to_bytes(self) -> bytes:
        """See `Segment.to_bytes`."""
        packed = self.packed()
        ciphertexts = self._lanes.integers(packed.rows)
        return wire.write_segment(self._key, self.space, self.capacity, packed.occupied, ciphertexts)

    @classmethod
    def from_bytes(
        cls, space: TemplateSpace, key: PhePublicKey, lanes: LaneModulus, data: bytes | memoryview
    ) -> "PheSegment":
        """Parse strictly. Raises InvalidCiphertextError."""
        segment = cls(space, key, lanes)
        occupied, ciphertexts = wire.read_segment(key, space, segment.capacity, data)
        segment._occupied[occupied] = True
        segment._rows = lanes.rows(ciphertexts)
        return segment

    def _change(self, slot: int, *, occupied: bool) -> None:
        if self._occupied[slot] == occupied:
            state = "taken" if occupied else "empty"
            raise InvalidArgumentError(Reason.INVALID_FIELD, f"slot {slot} of the segment is {state}")
        self._occupied[slot] = occupied

    def _packed_rows(self) -> U64:
        """The rows with every joining template: Horner's rule in 2^b, eight coordinates at a time."""
        tables = [joining.rows for joining in self._joining]
        order = sorted(range(len(tables)), key=lambda index: -self._joining[index].slot)
        plan: list[int] = []
        position = self._joining[order[0]].slot
        for index in order:
            slot = self._joining[index].slot
            plan.extend([SQUARE] * self.layout.shift(position - slot))
            plan.append(index)
            position = slot
        plan.extend([SQUARE] * self.layout.shift(position))
        plan.append(len(tables))
        where = np.stack([addresses(rows) for rows in (*tables, self._rows)])
        coordinates = self._rows.shape[0]
        programs = [_program(np.array(plan, dtype=np.int64), where, first) for first in range(0, coordinates, LANES)]
        results = self._lanes.run(programs, folded=False).reshape(-1, self._lanes.limbs)
        return np.ascontiguousarray(results[:coordinates])


def _program(plan: NDArray[np.int64], where: Steps, first: int) -> Steps:
    """The steps for eight coordinates from `first` on. where: int64 (tables, coordinates)."""
    columns = np.minimum(np.arange(first, first + LANES), where.shape[1] - 1)
    steps = where[np.maximum(plan, 0)][:, columns]
    return np.ascontiguousarray(np.where(plan[:, None] < 0, plan[:, None], steps))
