"""Enrollments, their templates and the slots that they occupy."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from veilface.common.database import Database
from veilface.common.errors import NotFoundError, Reason, ResourceExhaustedError
from veilface.common.names import EnrollmentName, GalleryName, SubjectName
from veilface.matching.domain.admission import check_gallery
from veilface.matching.domain.limits import MAX_ENROLLMENTS_PER_SUBJECT
from veilface.matching.domain.records import Enrollment, EnrollmentDraft, ErasedTemplate, Gallery, Page, SegmentPlace
from veilface.matching.domain.store.clock import from_microseconds, to_microseconds
from veilface.matching.domain.store.enrolled_templates import claim_template
from veilface.matching.domain.store.galleries import load_gallery
from veilface.matching.domain.store.imports import forget_imported
from veilface.matching.domain.store.moves import require_open
from veilface.matching.domain.store.requests import find_request, forget_contents, record_request
from veilface.matching.domain.store.schema import EnrollmentRow, GalleryRow, SegmentRow, SubjectRow, TemplateTable


class EnrollmentRecords:
    """Makes, finds, lists and erases enrollments. Each change is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enroll(self, draft: EnrollmentDraft, segment_capacity: int) -> tuple[Enrollment, SegmentPlace]:
        """Store an enrollment in the next free slot, or answer the one that the same request made before.

        Args:
            draft: What to enroll.
            segment_capacity: How many slots a new segment has.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND, or ENROLLMENT_NOT_FOUND if the request's enrollment was erased since.
            AlreadyExistsError: REQUEST_ID_REUSED, or TEMPLATE_ENROLLED if another request enrolled this very template.
            ResourceExhaustedError: SUBJECT_FULL.
            FailedPreconditionError: As for `check_gallery`: another request may have bound the gallery meanwhile.
            UnavailableError: GALLERY_MOVING in the last moment of a move.
        """
        with self._database.write() as connection:
            gallery = load_gallery(connection, draft.subject.gallery_name, locked=True)
            number = find_request(connection, gallery.uid, draft)
            if number is None:
                check_gallery(draft.statement, gallery)
                require_open(connection, gallery)
                claim_template(connection, draft)
                number = _insert(connection, gallery, draft, segment_capacity)
            row = connection.execute(_select_one(gallery.uid, number)).one()
        return _enrollment(gallery.name, row), SegmentPlace(gallery.uid, row.segment)

    def find(self, draft: EnrollmentDraft) -> Enrollment | None:
        """What the same request made before; errors as for `enroll`."""
        with self._database.read() as connection:
            gallery = load_gallery(connection, draft.subject.gallery_name)
            number = find_request(connection, gallery.uid, draft)
            row = None if number is None else connection.execute(_select_one(gallery.uid, number)).one()
        return None if row is None else _enrollment(gallery.name, row)

    def get(self, name: EnrollmentName) -> Enrollment:
        """Find one. Raises NotFoundError GALLERY_NOT_FOUND or ENROLLMENT_NOT_FOUND."""
        with self._database.read() as connection:
            gallery = load_gallery(connection, name.gallery_name)
            row = connection.execute(_select_one(gallery.uid, name.enrollment)).first()
        if row is None:
            raise _not_found(name)
        return _enrollment(gallery.name, row)

    def page(
        self, gallery_name: GalleryName, subject: SubjectName | None, after: str | None, size: int
    ) -> Page[Enrollment]:
        """The enrollments behind the number `after`, in the order in which they were made.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
        """
        with self._database.read() as connection:
            gallery = load_gallery(connection, gallery_name)
            query = select(EnrollmentRow.__table__).where(EnrollmentRow.gallery_uid == gallery.uid)
            if subject is not None:
                query = query.where(EnrollmentRow.subject_id == subject.subject)
            if after is not None:
                query = query.where(EnrollmentRow.number > int(after))
            rows = connection.execute(query.order_by(EnrollmentRow.number).limit(size + 1)).all()
        items = tuple(_enrollment(gallery_name, row) for row in rows[:size])
        return Page(items, str(items[-1].name.enrollment) if len(rows) > size else None)

    def erase(self, name: EnrollmentName) -> list[ErasedTemplate]:
        """Erase one; its slot stays empty. Answers what was erased, to be taken out of packed segments.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND or ENROLLMENT_NOT_FOUND.
        """
        with self._database.write() as connection:
            gallery = load_gallery(connection, name.gallery_name, locked=True)
            erased = _erase(connection, gallery, [name.enrollment])
            if not erased:
                raise _not_found(name)
        return erased

    def erase_subject(self, name: SubjectName) -> list[ErasedTemplate]:
        """Erase every enrollment of a subject; answers what was erased.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND or SUBJECT_NOT_FOUND.
        """
        with self._database.write() as connection:
            gallery = load_gallery(connection, name.gallery_name, locked=True)
            numbers = connection.scalars(
                select(EnrollmentRow.number).where(
                    EnrollmentRow.gallery_uid == gallery.uid, EnrollmentRow.subject_id == name.subject
                )
            ).all()
            if not numbers:
                raise NotFoundError(Reason.SUBJECT_NOT_FOUND, f"{name} does not exist")
            return _erase(connection, gallery, numbers)


def _insert(connection: Connection, gallery: Gallery, draft: EnrollmentDraft, segment_capacity: int) -> int:
    generation = gallery.generation + 1
    new_subject = _count_in_subject(connection, gallery.uid, draft.subject)
    place, slot = _take_slot(connection, gallery.uid, segment_capacity, generation)
    number = connection.scalars(select(GalleryRow.next_enrollment).where(GalleryRow.uid == gallery.uid)).one()
    template = draft.template
    connection.execute(
        insert(EnrollmentRow).values(
            gallery_uid=gallery.uid,
            number=number,
            subject_id=draft.subject.subject,
            segment=place.number,
            slot=slot,
            labels=json.dumps(dict(draft.labels), sort_keys=True),
            key_version=draft.statement.key_version,
            template_sha256=draft.statement.ciphertext_sha256,
            template_bytes=len(template.ciphertext),
            create_time_us=to_microseconds(datetime.now(UTC)),
        )
    )
    connection.execute(
        insert(TemplateTable).values(
            gallery_uid=gallery.uid,
            number=number,
            key_version=draft.statement.key_version,
            statement=template.statement_bytes,
            ciphertext_sha256=draft.statement.ciphertext_sha256,
            ciphertext=template.ciphertext,
            signer=template.signature.signer,
            signer_key_id=template.signature.key_id,
            signature=template.signature.value,
        )
    )
    record_request(connection, gallery.uid, draft, number)
    connection.execute(
        update(GalleryRow)
        .where(GalleryRow.uid == gallery.uid)
        .values(
            model=draft.statement.model,
            dimension=draft.statement.space.dimension,
            generation=generation,
            next_enrollment=number + 1,
            enrollment_count=GalleryRow.enrollment_count + 1,
            subject_count=GalleryRow.subject_count + int(new_subject),
            template_bytes=GalleryRow.template_bytes + len(template.ciphertext),
        )
    )
    return number


def _count_in_subject(connection: Connection, gallery_uid: int, subject: SubjectName) -> bool:
    is_subject = (SubjectRow.gallery_uid == gallery_uid) & (SubjectRow.subject_id == subject.subject)
    count = connection.scalars(select(SubjectRow.enrollment_count).where(is_subject)).first()
    if count is None:
        connection.execute(
            insert(SubjectRow).values(gallery_uid=gallery_uid, subject_id=subject.subject, enrollment_count=1)
        )
        return True
    if count >= MAX_ENROLLMENTS_PER_SUBJECT:
        raise ResourceExhaustedError(
            Reason.SUBJECT_FULL,
            f"{subject} has {count} enrollments, the most that a subject can have; erase one of them first",
        )
    connection.execute(update(SubjectRow).where(is_subject).values(enrollment_count=count + 1))
    return False


def _take_slot(
    connection: Connection, gallery_uid: int, segment_capacity: int, generation: int
) -> tuple[SegmentPlace, int]:
    last = connection.execute(
        select(SegmentRow.number, SegmentRow.capacity, SegmentRow.next_slot)
        .where(SegmentRow.gallery_uid == gallery_uid)
        .order_by(SegmentRow.number.desc())
        .limit(1)
    ).first()
    if last is not None and last.next_slot < last.capacity:
        connection.execute(
            update(SegmentRow)
            .where(SegmentRow.gallery_uid == gallery_uid, SegmentRow.number == last.number)
            .values(
                next_slot=last.next_slot + 1,
                enrollment_count=SegmentRow.enrollment_count + 1,
                generation=generation,
            )
        )
        return SegmentPlace(gallery_uid, last.number), last.next_slot
    number = 0 if last is None else last.number + 1
    connection.execute(
        insert(SegmentRow).values(
            gallery_uid=gallery_uid,
            number=number,
            capacity=segment_capacity,
            next_slot=1,
            enrollment_count=1,
            generation=generation,
        )
    )
    return SegmentPlace(gallery_uid, number), 0


def _erase(connection: Connection, gallery: Gallery, numbers: Sequence[int]) -> list[ErasedTemplate]:
    is_chosen = (EnrollmentRow.gallery_uid == gallery.uid) & EnrollmentRow.number.in_(numbers)
    rows = connection.execute(
        select(
            EnrollmentRow.number,
            EnrollmentRow.segment,
            EnrollmentRow.slot,
            EnrollmentRow.subject_id,
            EnrollmentRow.template_bytes,
            EnrollmentRow.template_sha256,
            TemplateTable.ciphertext,
        )
        .outerjoin(
            TemplateTable,
            (TemplateTable.gallery_uid == EnrollmentRow.gallery_uid)
            & (TemplateTable.number == EnrollmentRow.number)
            & (TemplateTable.key_version == EnrollmentRow.key_version),
        )
        .where(is_chosen)
    ).all()
    if not rows:
        return []
    forget_contents(connection, gallery.uid, numbers)
    connection.execute(delete(EnrollmentRow).where(is_chosen))
    gone_subjects = _discount_subjects(connection, gallery.uid, [row.subject_id for row in rows])
    generation = gallery.generation + 1
    freed_bytes = sum(row.template_bytes for row in rows)
    for segment in {row.segment for row in rows}:
        freed_bytes += forget_imported(connection, gallery.uid, segment)
        connection.execute(
            update(SegmentRow)
            .where(SegmentRow.gallery_uid == gallery.uid, SegmentRow.number == segment)
            .values(
                enrollment_count=SegmentRow.enrollment_count - sum(row.segment == segment for row in rows),
                generation=generation,
            )
        )
    connection.execute(
        update(GalleryRow)
        .where(GalleryRow.uid == gallery.uid)
        .values(
            generation=generation,
            enrollment_count=GalleryRow.enrollment_count - len(rows),
            subject_count=GalleryRow.subject_count - gone_subjects,
            template_bytes=GalleryRow.template_bytes - freed_bytes,
        )
    )
    return [_erased(gallery.uid, row) for row in rows]


def _erased(gallery_uid: int, row: Row[int, int, int, str, int, bytes, bytes]) -> ErasedTemplate:
    # A damaged template must be erasable too; it only cannot be taken out of packed copies.
    is_intact = row.ciphertext is not None and hashlib.sha256(row.ciphertext).digest() == row.template_sha256
    return ErasedTemplate(
        place=SegmentPlace(gallery_uid, row.segment),
        slot=row.slot,
        enrollment=row.number,
        ciphertext=row.ciphertext if is_intact else None,
    )


def _discount_subjects(connection: Connection, gallery_uid: int, subject_ids: Sequence[str]) -> int:
    gone = 0
    for subject_id in set(subject_ids):
        is_subject = (SubjectRow.gallery_uid == gallery_uid) & (SubjectRow.subject_id == subject_id)
        connection.execute(
            update(SubjectRow)
            .where(is_subject)
            .values(enrollment_count=SubjectRow.enrollment_count - subject_ids.count(subject_id))
        )
        gone += connection.execute(delete(SubjectRow).where(is_subject, SubjectRow.enrollment_count == 0)).rowcount
    return gone


def _select_one(gallery_uid: int, number: int) -> Select[tuple[object, ...]]:
    return select(EnrollmentRow.__table__).where(
        EnrollmentRow.gallery_uid == gallery_uid, EnrollmentRow.number == number
    )


def _enrollment(gallery: GalleryName, row: Row[*tuple[Any, ...]]) -> Enrollment:
    return Enrollment(
        name=gallery.enrollment(row.number),
        subject=gallery.subject(row.subject_id),
        labels=json.loads(row.labels),
        key_version=row.key_version,
        template_bytes=row.template_bytes,
        create_time=from_microseconds(row.create_time_us),
    )


def _not_found(name: EnrollmentName) -> NotFoundError:
    return NotFoundError(Reason.ENROLLMENT_NOT_FOUND, f"{name} does not exist")
