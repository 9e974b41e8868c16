"""Packed segments. They are never changed once others can see them: a change makes a new one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from veilface.crypto.contract import Segment, TemplateComparer, TemplateSpace
from veilface.matching.domain.blobs.mapping import BlobMapping
from veilface.matching.domain.records import ErasedTemplate, TemplateRow
from veilface.matching.domain.segments.content import SegmentContent


@dataclass(frozen=True, slots=True)
class PackingTerms:
    """What all templates of a segment have in common."""

    key_version: str
    space: TemplateSpace


@dataclass(frozen=True, slots=True, eq=False)
class PackedSegment:
    """A segment and what is in it.

    Attributes:
        mapping: The file that the segment is mapped from; None for a segment of this process's own.
        is_imported: Whether it is mapped from a blob: then no cache needs it.
    """

    terms: PackingTerms
    content: SegmentContent
    segment: Segment
    mapping: BlobMapping | None = None
    is_imported: bool = False

    @classmethod
    def empty(cls, comparer: TemplateComparer, terms: PackingTerms) -> Self:
        """A segment that holds nothing."""
        return cls(terms, SegmentContent.empty(), comparer.new_segment(terms.space))

    @property
    def memory_bytes(self) -> int:
        """How much memory it holds, a mapped one as soon as it is read."""
        return self.segment.memory_bytes

    def will_need(self) -> None:
        """It will be read soon: a mapped one is fetched from the disk in the background."""
        if self.mapping is not None:
            self.mapping.will_need()

    def release(self) -> None:
        """Nobody wants to keep it now: the memory of a mapped one is given back, and taken again when it is read."""
        if self.mapping is not None:
            self.mapping.release()


def fits(packed: PackedSegment, wanted: SegmentContent) -> bool:
    """Whether no slot of the packed segment holds another template than the one wanted there."""
    different = wanted.without(packed.content)
    return not np.isin(different.slots, packed.content.slots).any()


def copy_segment(comparer: TemplateComparer, packed: PackedSegment) -> Segment:
    """A segment with the same content that may be changed."""
    return comparer.segment_from_bytes(packed.segment.to_bytes(), packed.terms.space)


def add_rows(segment: Segment, rows: Sequence[TemplateRow]) -> None:
    """Put templates into their slots, which must be empty."""
    segment.add_many([row.ciphertext for row in rows], [row.slot for row in rows])


def without_erased(
    comparer: TemplateComparer, packed: PackedSegment, erased: Sequence[ErasedTemplate]
) -> PackedSegment | None:
    """The packed segment without erased templates; None if one of them is not known well enough to take it out."""
    present = [each for each in erased if _holds(packed.content, each)]
    if not present:
        return packed
    known = [(each.ciphertext, each.slot) for each in present if each.ciphertext is not None]
    if len(known) < len(present):
        return None
    segment = copy_segment(comparer, packed)
    for ciphertext, slot in known:
        segment.subtract(ciphertext, slot)
    slots = np.array([each.slot for each in present], dtype=np.intp)
    return PackedSegment(packed.terms, packed.content.outside(slots), segment)


def _holds(content: SegmentContent, erased: ErasedTemplate) -> bool:
    return bool(np.any((content.slots == erased.slot) & (content.enrollments == erased.enrollment)))
