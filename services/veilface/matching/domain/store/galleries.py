"""Galleries in the record store."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select
from sqlalchemy.exc import IntegrityError

from veilface.common.database import Database
from veilface.common.errors import AlreadyExistsError, NotFoundError, Reason
from veilface.common.names import GalleryName
from veilface.crypto.contract import Metric, Scheme
from veilface.matching.domain.records import Gallery, GalleryDraft, Page, SegmentPlace
from veilface.matching.domain.store.clock import from_microseconds, to_microseconds
from veilface.matching.domain.store.schema import GalleryRow, SegmentRow


class GalleryRecords:
    """Creates, finds, lists and deletes galleries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, draft: GalleryDraft) -> Gallery:
        """Store an empty gallery. Raises AlreadyExistsError GALLERY_EXISTS."""
        values = insert(GalleryRow).values(
            gallery_id=draft.name.gallery,
            key_version=draft.key_version,
            scheme=draft.scheme.value,
            profile=draft.profile,
            model=draft.model,
            dimension=draft.dimension,
            metric=draft.metric.value,
            generation=1,
            next_enrollment=1,
            enrollment_count=0,
            subject_count=0,
            template_bytes=0,
            create_time_us=to_microseconds(datetime.now(UTC)),
        )
        try:
            with self._database.write() as connection:
                connection.execute(values)
                return load_gallery(connection, draft.name)
        except IntegrityError as error:
            raise AlreadyExistsError(
                Reason.GALLERY_EXISTS, f"{draft.name} exists already; choose another id or delete it first"
            ) from error

    def get(self, name: GalleryName) -> Gallery:
        """Find one. Raises NotFoundError GALLERY_NOT_FOUND."""
        with self._database.read() as connection:
            return load_gallery(connection, name)

    def page(self, after: str | None, size: int) -> Page[Gallery]:
        """The galleries behind the id `after`, in order of their ids."""
        query = select(GalleryRow.__table__).order_by(GalleryRow.gallery_id).limit(size + 1)
        if after is not None:
            query = query.where(GalleryRow.gallery_id > after)
        with self._database.read() as connection:
            found = [_gallery(row) for row in connection.execute(query)]
        items = tuple(found[:size])
        return Page(items, items[-1].name.gallery if len(found) > size else None)

    def delete(self, name: GalleryName) -> tuple[Gallery, list[SegmentPlace]]:
        """Delete it with everything in it; answers what it was, and its segments.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
        """
        with self._database.write() as connection:
            gallery = load_gallery(connection, name, locked=True)
            numbers = connection.scalars(select(SegmentRow.number).where(SegmentRow.gallery_uid == gallery.uid)).all()
            connection.execute(delete(GalleryRow).where(GalleryRow.uid == gallery.uid))
        return gallery, [SegmentPlace(gallery.uid, number) for number in numbers]


def load_gallery(connection: Connection, name: GalleryName, *, locked: bool = False) -> Gallery:
    """The gallery, within a transaction; `locked` keeps other writers of it waiting until the transaction ends.

    Raises:
        NotFoundError: GALLERY_NOT_FOUND.
    """
    query = select(GalleryRow.__table__).where(GalleryRow.gallery_id == name.gallery)
    row = connection.execute(query.with_for_update() if locked else query).first()
    if row is None:
        raise NotFoundError(Reason.GALLERY_NOT_FOUND, f"{name} does not exist")
    return _gallery(row)


def _gallery(row: Row[*tuple[Any, ...]]) -> Gallery:
    return Gallery(
        uid=row.uid,
        name=GalleryName(row.gallery_id),
        key_version=row.key_version,
        scheme=Scheme(row.scheme),
        profile=row.profile,
        model=row.model,
        dimension=row.dimension,
        metric=Metric(row.metric),
        generation=row.generation,
        enrollment_count=row.enrollment_count,
        subject_count=row.subject_count,
        template_bytes=row.template_bytes,
        create_time=from_microseconds(row.create_time_us),
    )
