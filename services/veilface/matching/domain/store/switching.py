"""The one transaction in which a gallery goes from one key version to the next."""

import numpy as np
from sqlalchemy import Connection, bindparam, delete, func, select, update

from veilface.common.database import Database
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.store.moves import (
    SLOT_TYPE,
    Move,
    is_unmoved_row,
    is_unmoved_segment,
    require_under_way,
)
from veilface.matching.domain.store.schema import (
    EnrollmentRow,
    GalleryRow,
    MovedSegmentRow,
    MoveRow,
    SegmentImportRow,
    SegmentRow,
    TemplateTable,
)


class SwitchRecords:
    """Switches galleries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def switch(self, move: Move) -> list[SegmentPlace] | None:
        """Switch the gallery with everything in it, if everything is moved; None if something is not.

        Answers its segments: packed copies of them are of no use any more.

        Empty slots between others go, and the segments are told apart from their former selves by a new generation.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            UnavailableError: GALLERY_CHANGED if the move is not under way any more.
        """
        uid = move.gallery.uid
        with self._database.write() as connection:
            gallery = require_under_way(connection, move)
            if _is_incomplete(connection, move):
                return None
            _switch_rows(connection, move)
            numbers = connection.scalars(select(SegmentRow.number).where(SegmentRow.gallery_uid == uid)).all()
            for segment in numbers:
                filled_slots = switch_blob(connection, move, segment)
                close_gaps(connection, uid, segment, filled_slots)
            generation = gallery.generation + 1
            connection.execute(update(SegmentRow).where(SegmentRow.gallery_uid == uid).values(generation=generation))
            connection.execute(
                update(GalleryRow)
                .where(GalleryRow.uid == uid)
                .values(
                    key_version=str(move.target),
                    generation=generation,
                    template_bytes=total_template_bytes(connection, uid),
                )
            )
            connection.execute(update(MoveRow).where(MoveRow.gallery_uid == uid).values(closed_until_us=0))
            connection.execute(delete(MovedSegmentRow).where(MovedSegmentRow.gallery_uid == uid))
        return [SegmentPlace(uid, number) for number in numbers]


def _is_incomplete(connection: Connection, move: Move) -> bool:
    uid = move.gallery.uid
    row = connection.execute(select(EnrollmentRow.number).where(is_unmoved_row(uid, move.target)).limit(1)).first()
    blob = connection.execute(select(SegmentRow.number).where(is_unmoved_segment(uid)).limit(1)).first()
    return row is not None or blob is not None


def _switch_rows(connection: Connection, move: Move) -> None:
    is_moved = (
        (TemplateTable.gallery_uid == EnrollmentRow.gallery_uid)
        & (TemplateTable.number == EnrollmentRow.number)
        & (TemplateTable.key_version == str(move.target))
    )
    digest = select(TemplateTable.ciphertext_sha256).where(is_moved).scalar_subquery()
    size = select(func.length(TemplateTable.ciphertext)).where(is_moved).scalar_subquery()
    connection.execute(
        update(EnrollmentRow)
        .where(EnrollmentRow.gallery_uid == move.gallery.uid, EnrollmentRow.template_bytes > 0)
        .values(key_version=str(move.target), template_sha256=digest, template_bytes=size)
        .execution_options(synchronize_session=False)
    )


def switch_blob(connection: Connection, move: Move, segment: int) -> int:
    """Refer to the new blob, if the segment has one; answers how many of its slots that fills."""
    uid = move.gallery.uid
    moved = connection.execute(
        select(
            MovedSegmentRow.source_sha256,
            MovedSegmentRow.blob_sha256,
            MovedSegmentRow.blob_bytes,
            MovedSegmentRow.slots,
        )
        .join(
            SegmentRow,
            (SegmentRow.gallery_uid == MovedSegmentRow.gallery_uid)
            & (SegmentRow.number == MovedSegmentRow.number)
            & (SegmentRow.blob_sha256 == MovedSegmentRow.source_sha256),
        )
        .where(MovedSegmentRow.gallery_uid == uid, MovedSegmentRow.number == segment)
    ).first()
    if moved is None:
        return 0
    in_blob = (
        (EnrollmentRow.gallery_uid == uid)
        & (EnrollmentRow.segment == segment)
        & (EnrollmentRow.template_sha256 == moved.source_sha256)
    )
    slots = np.frombuffer(moved.slots, dtype=SLOT_TYPE)
    present = connection.scalars(select(EnrollmentRow.slot).where(in_blob).order_by(EnrollmentRow.slot)).all()
    _renumber(connection, uid, segment, list(present), np.searchsorted(slots, present).tolist())
    connection.execute(
        update(EnrollmentRow)
        .where(in_blob)
        .values(key_version=str(move.target), template_sha256=moved.blob_sha256)
        .execution_options(synchronize_session=False)
    )
    connection.execute(
        update(SegmentRow)
        .where(SegmentRow.gallery_uid == uid, SegmentRow.number == segment)
        .values(blob_sha256=moved.blob_sha256, blob_bytes=moved.blob_bytes)
    )
    # An erasure finds this digest by the blob's, which is another one from now on; so it goes already now.
    connection.execute(
        update(SegmentImportRow)
        .where(SegmentImportRow.gallery_uid == uid, SegmentImportRow.blob_sha256 == moved.source_sha256)
        .values(subject_ids_sha256=None)
    )
    # What was erased after the blob was made is in it still.
    return len(slots)


def close_gaps(connection: Connection, gallery_uid: int, segment: int, first_free: int) -> None:
    """Move template rows down into the empty slots behind those of a blob."""
    is_segment = (EnrollmentRow.gallery_uid == gallery_uid) & (EnrollmentRow.segment == segment)
    slots = connection.scalars(
        select(EnrollmentRow.slot).where(is_segment, EnrollmentRow.template_bytes > 0).order_by(EnrollmentRow.slot)
    ).all()
    end = first_free + len(slots)
    _renumber(connection, gallery_uid, segment, list(slots), list(range(first_free, end)))
    connection.execute(
        update(SegmentRow)
        .where(SegmentRow.gallery_uid == gallery_uid, SegmentRow.number == segment)
        .values(next_slot=end)
    )


def _renumber(connection: Connection, gallery_uid: int, segment: int, old: list[int], new: list[int]) -> None:
    # Ascending and downwards only, so that no two are ever in one slot.
    moves = [{"old": before, "new": after} for before, after in zip(old, new, strict=True) if before != after]
    if moves:
        table = EnrollmentRow.__table__
        connection.execute(
            update(EnrollmentRow)
            .where(table.c.gallery_uid == gallery_uid, table.c.segment == segment, table.c.slot == bindparam("old"))
            .values(slot=bindparam("new")),
            moves,
        )


def total_template_bytes(connection: Connection, gallery_uid: int) -> int:
    """How many bytes a gallery's templates have, those in blobs included."""
    rows = select(func.sum(EnrollmentRow.template_bytes)).where(EnrollmentRow.gallery_uid == gallery_uid)
    blobs = select(func.sum(SegmentRow.blob_bytes)).where(SegmentRow.gallery_uid == gallery_uid)
    return sum(int(connection.scalars(query).one() or 0) for query in (rows, blobs))
