"""Subjects in the record store."""

from sqlalchemy import select

from veilface.common.database import Database
from veilface.common.names import GalleryName
from veilface.matching.domain.records import Page, Subject
from veilface.matching.domain.store.galleries import load_gallery
from veilface.matching.domain.store.schema import SubjectRow


class SubjectRecords:
    """Lists subjects; they come and go with their enrollments."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, gallery_name: GalleryName, after: str | None, size: int) -> Page[Subject]:
        """The subjects behind the id `after`, in order of their ids. Raises NotFoundError GALLERY_NOT_FOUND."""
        with self._database.read() as connection:
            gallery = load_gallery(connection, gallery_name)
            query = select(SubjectRow.subject_id, SubjectRow.enrollment_count).where(
                SubjectRow.gallery_uid == gallery.uid
            )
            if after is not None:
                query = query.where(SubjectRow.subject_id > after)
            rows = connection.execute(query.order_by(SubjectRow.subject_id).limit(size + 1)).all()
        items = tuple(Subject(gallery_name.subject(row.subject_id), row.enrollment_count) for row in rows[:size])
        return Page(items, items[-1].name.subject if len(rows) > size else None)
