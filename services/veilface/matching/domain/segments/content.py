"""What a segment holds: which template is in which slot. It decides whether a packed copy may be used."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import DataLossError, Reason

DIGEST_BYTES: Final = 32
_ENTRY = np.dtype([("slot", "<u4"), ("enrollment", "<u8"), ("template_sha256", "u1", (DIGEST_BYTES,))])


@dataclass(frozen=True, eq=False)
class SegmentContent:
    """The occupied slots of a segment, ascending.

    Attributes:
        slots: Shape (count,).
        enrollments: The enrollment number of each, shape (count,).
        template_sha256: The digest of each template's ciphertext, shape (count, 32).
    """

    slots: NDArray[np.intp]
    enrollments: NDArray[np.uint64]
    template_sha256: NDArray[np.uint8]

    @classmethod
    def empty(cls) -> Self:
        """A segment that holds nothing."""
        return cls.from_bytes(b"")

    @classmethod
    def from_bytes(cls, serialized: bytes) -> Self:
        """Parse what `to_bytes` made.

        Raises:
            DataLossError: If it is not a whole number of entries in ascending order of their slots.
        """
        if len(serialized) % _ENTRY.itemsize:
            raise DataLossError(Reason.DATA_LOSS, "a segment's list of templates is cut off")
        entries = np.frombuffer(serialized, dtype=_ENTRY)
        slots = entries["slot"].astype(np.intp)
        if np.any(np.diff(slots) <= 0):
            raise DataLossError(Reason.DATA_LOSS, "a segment's list of templates is not in order")
        return cls(slots, entries["enrollment"].astype(np.uint64), np.ascontiguousarray(entries["template_sha256"]))

    def to_bytes(self) -> bytes:
        """Slot (4 bytes), enrollment (8 bytes) and template digest of each entry, little-endian."""
        entries = np.empty(len(self), dtype=_ENTRY)
        entries["slot"] = self.slots
        entries["enrollment"] = self.enrollments
        entries["template_sha256"] = self.template_sha256
        return entries.tobytes()

    @cached_property
    def digest(self) -> bytes:
        """Names the content: the SHA-256 over every (slot, enrollment, template digest) in order."""
        return hashlib.sha256(self.to_bytes()).digest()

    def __len__(self) -> int:
        return len(self.slots)

    def without(self, other: "SegmentContent") -> "SegmentContent":
        """The entries that `other` does not hold in the same way."""
        if not len(self) or not len(other):
            return self
        if self.digest == other.digest:
            return self.part(0, 0)
        position = np.minimum(np.searchsorted(other.slots, self.slots), len(other) - 1)
        same = (
            (other.slots[position] == self.slots)
            & (other.enrollments[position] == self.enrollments)
            & (other.template_sha256[position] == self.template_sha256).all(axis=1)
        )
        return self._select(~same)

    def joined(self, other: "SegmentContent") -> "SegmentContent":
        """The entries of both; no slot may be in both."""
        slots = np.concatenate([self.slots, other.slots])
        order = np.argsort(slots, kind="stable")
        return SegmentContent(
            slots[order],
            np.concatenate([self.enrollments, other.enrollments])[order],
            np.concatenate([self.template_sha256, other.template_sha256])[order],
        )

    def part(self, start: int, end: int) -> "SegmentContent":
        """The entries from `start` to before `end`."""
        return SegmentContent(self.slots[start:end], self.enrollments[start:end], self.template_sha256[start:end])

    def of_template(self, template_sha256: bytes) -> "SegmentContent":
        """The entries with this template digest."""
        chosen = (self.template_sha256 == np.frombuffer(template_sha256, dtype=np.uint8)).all(axis=1)
        return self if chosen.all() else self._select(chosen)

    def outside(self, slots: NDArray[np.intp]) -> "SegmentContent":
        """The entries in other slots than these."""
        return self._select(~np.isin(self.slots, slots))

    def _select(self, chosen: NDArray[np.bool_]) -> "SegmentContent":
        return SegmentContent(self.slots[chosen], self.enrollments[chosen], self.template_sha256[chosen])
