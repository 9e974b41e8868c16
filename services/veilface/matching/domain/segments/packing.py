"""Adds stored templates to packed segments."""

from typing import Final, Protocol

from veilface.common.errors import Reason, UnavailableError
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateComparer
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import TemplateRow
from veilface.matching.domain.segments.content import SegmentContent
from veilface.matching.domain.segments.packed import PackedSegment, add_rows, copy_segment
from veilface.matching.domain.store.snapshots import SegmentSnapshot
from veilface.matching.domain.store.templates import TemplateRecords

_ROWS_PER_BATCH: Final = 64


class PackingEvents(Protocol):
    """Who wants to know how much is packed."""

    def templates_packed(self, count: int) -> None:
        """Templates were added to a segment."""
        ...


class Packing:
    """Completes packed segments from the record store.

    Args:
        templates: The stored templates.
        compute: Where packing runs.
        storage: Where blocking reads run.
        events: Told what happens.
    """

    def __init__(
        self, templates: TemplateRecords, compute: BoundedPool, storage: BoundedPool, events: PackingEvents
    ) -> None:
        self._templates = templates
        self._compute = compute
        self._storage = storage
        self._events = events

    async def complete(
        self, comparer: TemplateComparer, base: PackedSegment, snapshot: SegmentSnapshot
    ) -> PackedSegment:
        """The base with everything that it lacks of the snapshot; the base itself if it lacks nothing.

        Raises:
            UnavailableError: GALLERY_CHANGED if a template that it lacks was erased meanwhile.
            DataLossError: If a stored template is damaged.
        """
        missing = snapshot.content.without(base.content)
        if not len(missing):
            return base
        segment = await run_patiently(self._compute, copy_segment, comparer, base)
        for start in range(0, len(missing), _ROWS_PER_BATCH):
            batch = missing.part(start, start + _ROWS_PER_BATCH)
            numbers = [int(number) for number in batch.enrollments]
            rows = await run_patiently(self._storage, self._templates.read, snapshot.place.gallery_uid, numbers)
            await run_patiently(self._compute, add_rows, segment, _in_slot_order(rows, batch))
            self._events.templates_packed(len(rows))
        return PackedSegment(base.terms, base.content.joined(missing), segment)


def _in_slot_order(rows: list[TemplateRow], wanted: SegmentContent) -> list[TemplateRow]:
    by_number = {row.enrollment: row for row in rows}
    found = []
    for slot, number, digest in zip(wanted.slots, wanted.enrollments, wanted.template_sha256, strict=True):
        row = by_number.get(int(number))
        if row is None or (row.slot, row.template_sha256) != (int(slot), digest.tobytes()):
            raise UnavailableError(Reason.GALLERY_CHANGED, "the gallery was changed while it was read; try again")
        found.append(row)
    return found
