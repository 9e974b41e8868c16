"""Galleries on their way to a newer key version: what is moved already, and what is still to be moved."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import aliased

from veilface.common.attested import SignedTemplate
from veilface.common.database import Database
from veilface.common.errors import DataLossError, InvalidArgumentError, Reason, UnavailableError
from veilface.common.names import GalleryName, KeyVersionName
from veilface.common.signing import SignatureValue
from veilface.matching.domain.records import BlobReference, Gallery
from veilface.matching.domain.store.clock import to_microseconds
from veilface.matching.domain.store.galleries import load_gallery
from veilface.matching.domain.store.schema import (
    EnrollmentRow,
    GalleryRow,
    MovedSegmentRow,
    MoveRow,
    SegmentRow,
    TemplateTable,
)

SLOT_TYPE: Final = np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class Move:
    """A move, and the gallery when it was looked at.

    Attributes:
        source: The version that the gallery was under when the move began.
        target: The version to move to.
    """

    gallery: Gallery
    source: KeyVersionName
    target: KeyVersionName

    @property
    def is_switched(self) -> bool:
        """Whether the gallery is under the target version already."""
        return self.gallery.key_version == str(self.target)


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of a gallery's enrollments have a template under the target version.

    Attributes:
        last_enrollment: The number of the newest one, or of one that was erased since.
    """

    moved_count: int
    enrollment_count: int
    last_enrollment: int


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template row that is to be moved."""

    enrollment: int
    signed: SignedTemplate


@dataclass(frozen=True, slots=True)
class MovedTemplate:
    """The template of an enrollment under the target version.

    Attributes:
        ciphertext_sha256: The digest of its ciphertext, 32 bytes.
    """

    enrollment: int
    ciphertext_sha256: bytes
    signed: SignedTemplate


@dataclass(frozen=True, slots=True, eq=False)
class ImportedSegment:
    """A blob that is to be moved.

    Attributes:
        number: Of its segment.
        slots: Those that are not erased, ascending.
    """

    number: int
    blob: BlobReference
    slots: NDArray[np.intp]


class MoveRecords:
    """Begins moves and stores what was moved. Each change is one transaction, and may be made again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, name: GalleryName, target: KeyVersionName) -> Move:
        """Begin a move, or find the one that was begun before.

        A move to an older target that was never finished is given up.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            InvalidArgumentError: WRONG_KEY_VERSION unless the target is a newer version of the gallery's key, or the
                one that it has.
        """
        with self._database.write() as connection:
            gallery = load_gallery(connection, name, locked=True)
            current = KeyVersionName.parse(gallery.key_version)
            known = connection.execute(
                select(MoveRow.source, MoveRow.target).where(MoveRow.gallery_uid == gallery.uid)
            ).first()
            if known is not None and known.target == str(target):
                return Move(gallery, KeyVersionName.parse(known.source), target)
            if current == target:
                return Move(gallery, current, target)
            if current.key != target.key or current.version > target.version:
                raise InvalidArgumentError(
                    Reason.WRONG_KEY_VERSION, f"{name} is under {current}: it moves to newer versions of that key only"
                )
            if known is not None and KeyVersionName.parse(known.target).version > target.version:
                raise InvalidArgumentError(
                    Reason.WRONG_KEY_VERSION, f"{name} is on its way to {known.target} already: continue with that"
                )
            connection.execute(delete(MovedSegmentRow).where(MovedSegmentRow.gallery_uid == gallery.uid))
            connection.execute(delete(MoveRow).where(MoveRow.gallery_uid == gallery.uid))
            connection.execute(
                insert(MoveRow).values(
                    gallery_uid=gallery.uid, source=str(current), target=str(target), closed_until_us=0
                )
            )
            return Move(gallery, current, target)

    def progress(self, move: Move) -> Progress:
        """How far it is.

        Raises:
            UnavailableError: GALLERY_CHANGED if the gallery is gone.
        """
        uid = move.gallery.uid
        with self._database.read() as connection:
            gallery = connection.execute(
                select(GalleryRow.enrollment_count, GalleryRow.next_enrollment).where(GalleryRow.uid == uid)
            ).first()
            if gallery is None:
                raise _overtaken(move)
            has_moved_row = exists().where(
                TemplateTable.gallery_uid == uid,
                TemplateTable.number == EnrollmentRow.number,
                TemplateTable.key_version == str(move.target),
            )
            in_moved_blob = exists().where(
                MovedSegmentRow.gallery_uid == uid,
                MovedSegmentRow.number == EnrollmentRow.segment,
                EnrollmentRow.template_sha256 == MovedSegmentRow.source_sha256,
            )
            is_moved = or_(EnrollmentRow.key_version == str(move.target), has_moved_row, in_moved_blob)
            moved = connection.scalars(
                select(func.count()).select_from(EnrollmentRow).where(EnrollmentRow.gallery_uid == uid, is_moved)
            ).one()
        return Progress(moved, gallery.enrollment_count, gallery.next_enrollment - 1)

    def unmoved_templates(self, move: Move, after: int, last: int, count: int) -> list[StoredTemplate]:
        """The next templates behind the enrollment `after`, up to that of `last`, that are to be moved still.

        Raises:
            DataLossError: If a stored ciphertext is not what was stored.
        """
        query = (
            select(
                EnrollmentRow.number,
                EnrollmentRow.template_sha256,
                TemplateTable.statement,
                TemplateTable.ciphertext,
                TemplateTable.signer,
                TemplateTable.signer_key_id,
                TemplateTable.signature,
            )
            .join(
                TemplateTable,
                (TemplateTable.gallery_uid == EnrollmentRow.gallery_uid)
                & (TemplateTable.number == EnrollmentRow.number)
                & (TemplateTable.key_version == EnrollmentRow.key_version),
            )
            .where(is_unmoved_row(move.gallery.uid, move.target), EnrollmentRow.number > after)
            .where(EnrollmentRow.number <= last)
            .order_by(EnrollmentRow.number)
            .limit(count)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        found = []
        for row in rows:
            if hashlib.sha256(row.ciphertext).digest() != row.template_sha256:
                raise DataLossError(
                    Reason.DATA_LOSS,
                    f"the stored template of {move.gallery.name.enrollment(row.number)} has another digest than when "
                    "it was stored: restore it from a backup, or erase it, before the gallery can move",
                )
            signature = SignatureValue(row.signer, row.signer_key_id, row.signature)
            found.append(StoredTemplate(row.number, SignedTemplate(row.statement, row.ciphertext, signature)))
        return found

    def add_templates(self, move: Move, moved: Sequence[MovedTemplate]) -> None:
        """Store templates under the target version beside the old ones. Those erased meanwhile are left out.

        Raises:
            UnavailableError: GALLERY_CHANGED if the gallery is gone, or the move is not under way any more.
        """
        with self._database.write() as connection:
            require_under_way(connection, move)
            wanted = set(
                connection.scalars(
                    select(EnrollmentRow.number).where(
                        is_unmoved_row(move.gallery.uid, move.target),
                        EnrollmentRow.number.in_([each.enrollment for each in moved]),
                    )
                )
            )
            rows = [
                {
                    "gallery_uid": move.gallery.uid,
                    "number": each.enrollment,
                    "key_version": str(move.target),
                    "statement": each.signed.statement_bytes,
                    "ciphertext_sha256": each.ciphertext_sha256,
                    "ciphertext": each.signed.ciphertext,
                    "signer": each.signed.signature.signer,
                    "signer_key_id": each.signed.signature.key_id,
                    "signature": each.signed.signature.value,
                }
                for each in moved
                if each.enrollment in wanted
            ]
            if rows:
                connection.execute(insert(TemplateTable), rows)

    def unmoved_segments(self, move: Move) -> list[ImportedSegment]:
        """The imported segments whose blobs are to be moved still."""
        return self._segments(move, is_unmoved_segment(move.gallery.uid))

    def imported_segments(self, move: Move) -> list[ImportedSegment]:
        """All imported segments."""
        return self._segments(move, (SegmentRow.gallery_uid == move.gallery.uid) & SegmentRow.blob_sha256.is_not(None))

    def _segments(self, move: Move, condition: ColumnElement[bool]) -> list[ImportedSegment]:
        uid = move.gallery.uid
        with self._database.read() as connection:
            segments = connection.execute(
                select(SegmentRow.number, SegmentRow.blob_sha256, SegmentRow.blob_bytes)
                .where(condition)
                .order_by(SegmentRow.number)
            ).all()
            found = []
            for row in segments:
                slots = connection.scalars(
                    select(EnrollmentRow.slot)
                    .where(
                        EnrollmentRow.gallery_uid == uid,
                        EnrollmentRow.segment == row.number,
                        EnrollmentRow.template_sha256 == row.blob_sha256,
                    )
                    .order_by(EnrollmentRow.slot)
                ).all()
                if slots and row.blob_sha256 is not None and row.blob_bytes is not None:
                    blob = BlobReference(row.blob_sha256, row.blob_bytes)
                    found.append(ImportedSegment(row.number, blob, np.array(slots, dtype=np.intp)))
        return found

    def add_segment(self, move: Move, segment: ImportedSegment, blob: BlobReference) -> None:
        """Store that a segment was moved to a new blob, which is kept already; errors as for `add_templates`."""
        is_segment = (MovedSegmentRow.gallery_uid == move.gallery.uid) & (MovedSegmentRow.number == segment.number)
        with self._database.write() as connection:
            require_under_way(connection, move)
            current = connection.scalars(
                select(SegmentRow.blob_sha256).where(
                    SegmentRow.gallery_uid == move.gallery.uid, SegmentRow.number == segment.number
                )
            ).first()
            if current != segment.blob.sha256:
                return
            connection.execute(delete(MovedSegmentRow).where(is_segment))
            connection.execute(
                insert(MovedSegmentRow).values(
                    gallery_uid=move.gallery.uid,
                    number=segment.number,
                    source_sha256=segment.blob.sha256,
                    blob_sha256=blob.sha256,
                    blob_bytes=blob.total_bytes,
                    slots=segment.slots.astype(SLOT_TYPE).tobytes(),
                )
            )

    def close_for(self, move: Move, seconds: float) -> None:
        """Let nobody be enrolled for so long; errors as for `add_templates`."""
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        with self._database.write() as connection:
            require_under_way(connection, move)
            connection.execute(
                update(MoveRow)
                .where(MoveRow.gallery_uid == move.gallery.uid)
                .values(closed_until_us=to_microseconds(until))
            )

    def remove_others(self, move: Move, count: int) -> int:
        """Remove some templates that are neither under the gallery's version nor the target; answers how many.

        When there are none left, a move that has switched is forgotten.
        """
        uid = move.gallery.uid
        with self._database.write() as connection:
            gallery = load_gallery(connection, move.gallery.name, locked=True)
            if gallery.uid != uid:
                raise _overtaken(move)
            kept = (gallery.key_version, str(move.target))
            numbers = connection.execute(
                select(TemplateTable.number, TemplateTable.key_version)
                .where(TemplateTable.gallery_uid == uid, TemplateTable.key_version.not_in(kept))
                .limit(count)
            ).all()
            for row in numbers:
                connection.execute(
                    delete(TemplateTable).where(
                        TemplateTable.gallery_uid == uid,
                        TemplateTable.number == row.number,
                        TemplateTable.key_version == row.key_version,
                    )
                )
            if not numbers and gallery.key_version == str(move.target):
                connection.execute(
                    delete(MoveRow).where(MoveRow.gallery_uid == uid, MoveRow.target == str(move.target))
                )
        return len(numbers)


def require_open(connection: Connection, gallery: Gallery) -> None:
    """Refuse to enroll in the last moment of a move, within a transaction. Raises UnavailableError GALLERY_MOVING."""
    closed_until_us = connection.scalars(
        select(MoveRow.closed_until_us).where(MoveRow.gallery_uid == gallery.uid)
    ).first()
    if closed_until_us is not None and to_microseconds(datetime.now(UTC)) < closed_until_us:
        raise UnavailableError(
            Reason.GALLERY_MOVING, f"{gallery.name} is switching to a new key version: try again in a few seconds"
        )


def require_under_way(connection: Connection, move: Move) -> Gallery:
    """The gallery, locked, if it is still to be switched by this move. Raises UnavailableError GALLERY_CHANGED."""
    gallery = load_gallery(connection, move.gallery.name, locked=True)
    target = connection.scalars(select(MoveRow.target).where(MoveRow.gallery_uid == gallery.uid)).first()
    is_known = gallery.uid == move.gallery.uid and target == str(move.target)
    if not is_known or gallery.key_version != str(move.source):
        raise _overtaken(move)
    return gallery


def is_unmoved_row(gallery_uid: int, target: KeyVersionName) -> ColumnElement[bool]:
    """Which enrollments have a template row, but none under the target version."""
    moved = aliased(TemplateTable)
    has_moved = exists().where(
        moved.gallery_uid == EnrollmentRow.gallery_uid,
        moved.number == EnrollmentRow.number,
        moved.key_version == str(target),
    )
    return and_(EnrollmentRow.gallery_uid == gallery_uid, EnrollmentRow.template_bytes > 0, ~has_moved)


def is_unmoved_segment(gallery_uid: int) -> ColumnElement[bool]:
    """Which segments have a blob that is not moved."""
    has_moved = exists().where(
        MovedSegmentRow.gallery_uid == SegmentRow.gallery_uid,
        MovedSegmentRow.number == SegmentRow.number,
        MovedSegmentRow.source_sha256 == SegmentRow.blob_sha256,
    )
    return and_(SegmentRow.gallery_uid == gallery_uid, SegmentRow.blob_sha256.is_not(None), ~has_moved)


def _overtaken(move: Move) -> UnavailableError:
    return UnavailableError(
        Reason.GALLERY_CHANGED, f"{move.gallery.name} was moved or deleted by somebody else meanwhile; try again"
    )
