"""Imported segments: their enrollments are written all at once, and a repeated request answers the same import."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from veilface.common.database import Database
from veilface.common.errors import AlreadyExistsError, Reason, ResourceExhaustedError
from veilface.common.names import GalleryName
from veilface.matching.domain.admission import check_gallery
from veilface.matching.domain.limits import MAX_ENROLLMENTS_PER_SUBJECT
from veilface.matching.domain.records import BlobReference, Gallery, Page, SegmentDraft, SegmentImport
from veilface.matching.domain.store.clock import from_microseconds, to_microseconds
from veilface.matching.domain.store.galleries import load_gallery
from veilface.matching.domain.store.moves import require_open
from veilface.matching.domain.store.schema import (
    EnrollmentRow,
    GalleryRow,
    MovedSegmentRow,
    SegmentImportRow,
    SegmentRow,
    SubjectRow,
)

_SUBJECTS_PER_QUERY: Final = 1000


class ImportRecords:
    """Stores and lists imports. Each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, gallery_name: GalleryName, request_id: str, blob: BlobReference) -> SegmentImport | None:
        """What the same request imported before.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            AlreadyExistsError: REQUEST_ID_REUSED if it imported another segment.
        """
        with self._database.read() as connection:
            gallery = load_gallery(connection, gallery_name)
            return _find(connection, gallery.uid, request_id, blob, None)

    def add(self, draft: SegmentDraft) -> SegmentImport:
        """Store a segment with its enrollments, or answer the import that the same request made before.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            AlreadyExistsError: REQUEST_ID_REUSED.
            ResourceExhaustedError: SUBJECT_FULL.
            FailedPreconditionError: As for `check_gallery`.
            UnavailableError: GALLERY_MOVING in the last moment of a move.
        """
        statement = draft.statement
        with self._database.write() as connection:
            gallery = load_gallery(connection, statement.gallery, locked=True)
            made = _find(connection, gallery.uid, draft.request_id, draft.blob, statement.subject_ids_sha256)
            if made is None:
                check_gallery(statement, gallery)
                require_open(connection, gallery)
                made = _insert(connection, gallery, draft)
        return made

    def page(self, gallery_name: GalleryName, after: str | None, size: int) -> Page[SegmentImport]:
        """The imports behind the first enrollment `after`, oldest first. Raises NotFoundError GALLERY_NOT_FOUND."""
        with self._database.read() as connection:
            gallery = load_gallery(connection, gallery_name)
            query = select(SegmentImportRow.__table__).where(SegmentImportRow.gallery_uid == gallery.uid)
            if after is not None:
                query = query.where(SegmentImportRow.first_enrollment > int(after))
            rows = connection.execute(query.order_by(SegmentImportRow.first_enrollment).limit(size + 1)).all()
        items = tuple(_segment_import(row) for row in rows[:size])
        return Page(items, str(items[-1].first_enrollment) if len(rows) > size else None)

    def has_gallery(self, gallery_uid: int) -> bool:
        """Whether there is a gallery of this number."""
        with self._database.read() as connection:
            query = select(GalleryRow.uid).where(GalleryRow.uid == gallery_uid)
            return connection.execute(query).first() is not None

    def blobs(self, gallery_uid: int) -> frozenset[bytes]:
        """The digests of the blobs that a gallery's segments refer to, or will after a move; none for no gallery."""
        present = select(SegmentRow.blob_sha256).where(
            SegmentRow.gallery_uid == gallery_uid, SegmentRow.blob_sha256.is_not(None)
        )
        moved = select(MovedSegmentRow.blob_sha256).where(MovedSegmentRow.gallery_uid == gallery_uid)
        with self._database.read() as connection:
            digests = (*connection.scalars(present), *connection.scalars(moved))
        return frozenset(digest for digest in digests if digest is not None)


def forget_imported(connection: Connection, gallery_uid: int, segment: int) -> int:
    """After an erasure in an imported segment: keep no digest of its subjects, and drop the blob if nobody needs it.

    Returns:
        How many bytes the blob had, if the segment does not refer to it any more; else 0.
    """
    is_segment = (SegmentRow.gallery_uid == gallery_uid) & (SegmentRow.number == segment)
    blob = connection.execute(select(SegmentRow.blob_sha256, SegmentRow.blob_bytes).where(is_segment)).first()
    if blob is None or blob.blob_sha256 is None:
        return 0
    connection.execute(
        update(SegmentImportRow)
        .where(SegmentImportRow.gallery_uid == gallery_uid, SegmentImportRow.blob_sha256 == blob.blob_sha256)
        .values(subject_ids_sha256=None)
    )
    in_blob = select(EnrollmentRow.number).where(
        EnrollmentRow.gallery_uid == gallery_uid, EnrollmentRow.segment == segment, EnrollmentRow.template_bytes == 0
    )
    if connection.execute(in_blob.limit(1)).first() is not None:
        return 0
    connection.execute(update(SegmentRow).where(is_segment).values(blob_sha256=None, blob_bytes=None))
    return int(blob.blob_bytes)


def _find(
    connection: Connection, gallery_uid: int, request_id: str, blob: BlobReference, subject_ids_sha256: bytes | None
) -> SegmentImport | None:
    row = connection.execute(
        select(SegmentImportRow.__table__).where(
            SegmentImportRow.gallery_uid == gallery_uid, SegmentImportRow.request_id == request_id
        )
    ).first()
    if row is None:
        return None
    is_same_subjects = subject_ids_sha256 is None or row.subject_ids_sha256 in (None, subject_ids_sha256)
    if row.blob_sha256 != blob.sha256 or not is_same_subjects:
        raise AlreadyExistsError(
            Reason.REQUEST_ID_REUSED, "this request_id imported another segment or other subjects; choose a new one"
        )
    return _segment_import(row)


def _insert(connection: Connection, gallery: Gallery, draft: SegmentDraft) -> SegmentImport:
    statement = draft.statement
    count = statement.slot_count
    generation = gallery.generation + 1
    new_subjects = _count_in_subjects(connection, gallery.uid, draft.subject_ids)
    first = connection.scalars(select(GalleryRow.next_enrollment).where(GalleryRow.uid == gallery.uid)).one()
    last_segment = connection.scalars(
        select(func.max(SegmentRow.number)).where(SegmentRow.gallery_uid == gallery.uid)
    ).one()
    segment = 0 if last_segment is None else last_segment + 1
    now_us = to_microseconds(datetime.now(UTC))
    connection.execute(
        insert(SegmentRow).values(
            gallery_uid=gallery.uid,
            number=segment,
            capacity=draft.capacity,
            next_slot=count,
            enrollment_count=count,
            generation=generation,
            blob_sha256=draft.blob.sha256,
            blob_bytes=draft.blob.total_bytes,
        )
    )
    connection.execute(
        insert(EnrollmentRow),
        [
            {
                "gallery_uid": gallery.uid,
                "number": first + slot,
                "subject_id": subject_id,
                "segment": segment,
                "slot": slot,
                "labels": "{}",
                "key_version": statement.key_version,
                "template_sha256": draft.blob.sha256,
                "template_bytes": 0,
                "create_time_us": now_us,
            }
            for slot, subject_id in enumerate(draft.subject_ids)
        ],
    )
    connection.execute(
        insert(SegmentImportRow).values(
            gallery_uid=gallery.uid,
            request_id=draft.request_id,
            first_enrollment=first,
            enrollment_count=count,
            blob_sha256=draft.blob.sha256,
            subject_ids_sha256=statement.subject_ids_sha256,
            create_time_us=now_us,
        )
    )
    connection.execute(
        update(GalleryRow)
        .where(GalleryRow.uid == gallery.uid)
        .values(
            model=statement.model,
            dimension=statement.space.dimension,
            generation=generation,
            next_enrollment=first + count,
            enrollment_count=GalleryRow.enrollment_count + count,
            subject_count=GalleryRow.subject_count + new_subjects,
            template_bytes=GalleryRow.template_bytes + draft.blob.total_bytes,
        )
    )
    return SegmentImport(draft.request_id, first, count, from_microseconds(now_us))


def _count_in_subjects(connection: Connection, gallery_uid: int, subject_ids: Sequence[str]) -> int:
    wanted = Counter(subject_ids)
    names = sorted(wanted)
    existing: dict[str, int] = {}
    for start in range(0, len(names), _SUBJECTS_PER_QUERY):
        rows = connection.execute(
            select(SubjectRow.subject_id, SubjectRow.enrollment_count).where(
                SubjectRow.gallery_uid == gallery_uid,
                SubjectRow.subject_id.in_(names[start : start + _SUBJECTS_PER_QUERY]),
            )
        )
        existing |= {row.subject_id: row.enrollment_count for row in rows}
    for name in names:
        if existing.get(name, 0) + wanted[name] > MAX_ENROLLMENTS_PER_SUBJECT:
            raise ResourceExhaustedError(
                Reason.SUBJECT_FULL,
                f"subject {name} would have {existing.get(name, 0) + wanted[name]} enrollments; "
                f"at most {MAX_ENROLLMENTS_PER_SUBJECT} are allowed",
            )
    added = [name for name in names if name not in existing]
    if added:
        connection.execute(
            insert(SubjectRow),
            [{"gallery_uid": gallery_uid, "subject_id": name, "enrollment_count": wanted[name]} for name in added],
        )
    if existing:
        table = SubjectRow.__table__
        connection.execute(
            update(SubjectRow)
            .where(table.c.gallery_uid == gallery_uid, table.c.subject_id == bindparam("subject"))
            .values(enrollment_count=table.c.enrollment_count + bindparam("more")),
            [{"subject": name, "more": wanted[name]} for name in existing],
        )
    return len(added)


def _segment_import(row: Row[*tuple[Any, ...]]) -> SegmentImport:
    return SegmentImport(
        row.request_id, row.first_enrollment, row.enrollment_count, from_microseconds(row.create_time_us)
    )
