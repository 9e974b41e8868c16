"""Reading stored templates: the material that segments are packed from and that 1:1 comparisons use."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select

from veilface.common.database import Database
from veilface.common.errors import DataLossError, NotFoundError, Reason
from veilface.common.names import EnrollmentName, GalleryName, SubjectName
from veilface.matching.domain.records import Gallery, ImportedSlot, SegmentPlace, TemplateRow
from veilface.matching.domain.store.galleries import load_gallery
from veilface.matching.domain.store.schema import EnrollmentRow, TemplateTable


@dataclass(frozen=True, slots=True)
class References:
    """The stored references of one subject, or one of them, as they were in one transaction.

    Attributes:
        rows: Those with a template row, oldest first.
        imported: Those in blobs, oldest first.
    """

    gallery: Gallery
    subject: SubjectName
    rows: tuple[TemplateRow, ...]
    imported: tuple[ImportedSlot, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.rows) + len(self.imported)


class TemplateRecords:
    """Reads the templates of enrollments; each is compared with its digest before it is given out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, gallery_uid: int, enrollments: Sequence[int]) -> list[TemplateRow]:
        """The templates of those enrollments that exist still, in order of their numbers.

        Raises:
            DataLossError: If a stored ciphertext is not what was stored.
        """
        query = (
            _select_templates(gallery_uid)
            .where(EnrollmentRow.number.in_([int(number) for number in enrollments]))
            .order_by(EnrollmentRow.number)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [_template_row(gallery_uid, row) for row in rows]

    def of_enrollment(self, name: EnrollmentName) -> References:
        """The reference of one enrollment.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND or ENROLLMENT_NOT_FOUND.
            DataLossError: If a stored ciphertext is not what was stored.
        """
        references = self._find(name.gallery_name, EnrollmentRow.number == name.enrollment)
        if references is None:
            raise NotFoundError(Reason.ENROLLMENT_NOT_FOUND, f"{name} does not exist")
        return references

    def of_subject(self, name: SubjectName) -> References:
        """Every reference of a subject, oldest first.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND or SUBJECT_NOT_FOUND.
            DataLossError: If a stored ciphertext is not what was stored.
        """
        references = self._find(name.gallery_name, EnrollmentRow.subject_id == name.subject)
        if references is None:
            raise NotFoundError(Reason.SUBJECT_NOT_FOUND, f"{name} does not exist")
        return references

    def _find(self, gallery_name: GalleryName, is_chosen: ColumnElement[bool]) -> References | None:
        with self._database.read() as connection:
            gallery = load_gallery(connection, gallery_name)
            query = _select_templates(gallery.uid).add_columns(EnrollmentRow.subject_id)
            rows = connection.execute(query.where(is_chosen).order_by(EnrollmentRow.number)).all()
            imported = connection.execute(_select_imported(gallery.uid).where(is_chosen)).all()
        if not rows and not imported:
            return None
        return References(
            gallery,
            gallery_name.subject((rows or imported)[0].subject_id),
            tuple(_template_row(gallery.uid, row) for row in rows),
            tuple(ImportedSlot(SegmentPlace(gallery.uid, row.segment), row.slot, row.number) for row in imported),
        )


def _select_templates(gallery_uid: int) -> Select[int, int, int, bytes, bytes]:
    return (
        select(
            EnrollmentRow.number,
            EnrollmentRow.segment,
            EnrollmentRow.slot,
            EnrollmentRow.template_sha256,
            TemplateTable.ciphertext,
        )
        .join(
            TemplateTable,
            (TemplateTable.gallery_uid == EnrollmentRow.gallery_uid)
            & (TemplateTable.number == EnrollmentRow.number)
            & (TemplateTable.key_version == EnrollmentRow.key_version),
        )
        .where(EnrollmentRow.gallery_uid == gallery_uid)
    )


def _select_imported(gallery_uid: int) -> Select[int, int, int, str]:
    return (
        select(EnrollmentRow.number, EnrollmentRow.segment, EnrollmentRow.slot, EnrollmentRow.subject_id)
        .where(EnrollmentRow.gallery_uid == gallery_uid, EnrollmentRow.template_bytes == 0)
        .order_by(EnrollmentRow.number)
    )


def _template_row(gallery_uid: int, row: Row[*tuple[Any, ...]]) -> TemplateRow:
    if hashlib.sha256(row.ciphertext).digest() != row.template_sha256:
        raise DataLossError(
            Reason.DATA_LOSS,
            f"the stored template of enrollment {row.number} has another digest than when it was stored",
        )
    return TemplateRow(
        place=SegmentPlace(gallery_uid, row.segment),
        slot=row.slot,
        enrollment=row.number,
        template_sha256=row.template_sha256,
        ciphertext=row.ciphertext,
    )
