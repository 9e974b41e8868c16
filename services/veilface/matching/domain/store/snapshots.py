"""What a search needs to know about a gallery, as of one generation."""

import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from cachetools import LRUCache
from sqlalchemy import Connection, select

from veilface.common.names import GalleryName
from veilface.crypto.contract import Metric, TemplateSpace
from veilface.matching.domain.records import BlobReference, Gallery, SegmentPlace
from veilface.matching.domain.segments.content import DIGEST_BYTES, SegmentContent
from veilface.matching.domain.segments.directory import Directory
from veilface.matching.domain.segments.packed import PackingTerms
from veilface.matching.domain.store.database import Database
from veilface.matching.domain.store.galleries import load_gallery
from veilface.matching.domain.store.schema import EnrollmentRow, GalleryRow, SegmentRow


@dataclass(frozen=True, eq=False)
class SegmentSnapshot:
    """A segment that is not empty: what is in its slots, and whose.

    Attributes:
        terms: What its templates have in common.
        generation: The gallery's generation when this segment was changed last.
        subject_ids: The subject of each occupied slot, in slot order.
        blob: What it was imported as, if it was.
    """

    place: SegmentPlace
    terms: PackingTerms
    generation: int
    content: SegmentContent
    subject_ids: tuple[str, ...]
    blob: BlobReference | None = None

    @cached_property
    def imported(self) -> SegmentContent:
        """The part of the content that is in the blob."""
        if self.blob is None:
            return self.content.part(0, 0)
        return self.content.of_template(self.blob.sha256)

    @cached_property
    def directory(self) -> Directory:
        """Who is at which position of its score batch."""
        return Directory.of(self.content, self.subject_ids)


@dataclass(frozen=True, slots=True, eq=False)
class GallerySnapshot:
    """A gallery and its segments at one generation."""

    gallery: Gallery
    segments: tuple[SegmentSnapshot, ...]


class SnapshotRecords:
    """Reads snapshots; only segments that changed since the last time are read again.

    Safe to use from several threads.

    Args:
        database: The record store.
        remembered_slots: How many slots' worth of listings to remember, about 150 bytes each.
    """

    def __init__(self, database: Database, remembered_slots: int) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: LRUCache[SegmentPlace, SegmentSnapshot] = LRUCache(
            maxsize=remembered_slots, getsizeof=lambda snapshot: len(snapshot.content)
        )

    def take(self, name: GalleryName) -> GallerySnapshot:
        """The gallery now. Raises NotFoundError GALLERY_NOT_FOUND."""
        with self._database.read() as connection:
            gallery = load_gallery(connection, name)
            return GallerySnapshot(gallery, tuple(self._segments(connection, gallery.uid)))

    def segment(self, place: SegmentPlace) -> SegmentSnapshot | None:
        """One segment now; None if it is empty or gone."""
        with self._database.read() as connection:
            return next(iter(self._segments(connection, place.gallery_uid, place.number)), None)

    def _segments(self, connection: Connection, gallery_uid: int, number: int | None = None) -> list[SegmentSnapshot]:
        query = (
            select(
                SegmentRow.number,
                SegmentRow.generation,
                SegmentRow.blob_sha256,
                SegmentRow.blob_bytes,
                GalleryRow.key_version,
                GalleryRow.dimension,
                GalleryRow.metric,
            )
            .join(GalleryRow, GalleryRow.uid == SegmentRow.gallery_uid)
            .where(SegmentRow.gallery_uid == gallery_uid, SegmentRow.enrollment_count > 0)
        )
        if number is not None:
            query = query.where(SegmentRow.number == number)
        found = []
        for row in connection.execute(query.order_by(SegmentRow.number)).all():
            place = SegmentPlace(gallery_uid, row.number)
            snapshot = self._remembered(place, row.generation)
            if snapshot is None:
                terms = PackingTerms(row.key_version, TemplateSpace(row.dimension, Metric(row.metric)))
                blob = None if row.blob_sha256 is None else BlobReference(row.blob_sha256, row.blob_bytes)
                snapshot = self._load(connection, place, terms, row.generation, blob)
            found.append(snapshot)
        return found

    def _remembered(self, place: SegmentPlace, generation: int) -> SegmentSnapshot | None:
        with self._lock:
            snapshot = self._known.get(place)
        return snapshot if snapshot is not None and snapshot.generation == generation else None

    def _load(
        self,
        connection: Connection,
        place: SegmentPlace,
        terms: PackingTerms,
        generation: int,
        blob: BlobReference | None,
    ) -> SegmentSnapshot:
        rows = connection.execute(
            select(EnrollmentRow.slot, EnrollmentRow.number, EnrollmentRow.template_sha256, EnrollmentRow.subject_id)
            .where(EnrollmentRow.gallery_uid == place.gallery_uid, EnrollmentRow.segment == place.number)
            .order_by(EnrollmentRow.slot)
        ).all()
        content = SegmentContent(
            slots=np.array([row.slot for row in rows], dtype=np.intp),
            enrollments=np.array([row.number for row in rows], dtype=np.uint64),
            template_sha256=np.frombuffer(b"".join(row.template_sha256 for row in rows), dtype=np.uint8).reshape(
                -1, DIGEST_BYTES
            ),
        )
        snapshot = SegmentSnapshot(place, terms, generation, content, tuple(row.subject_id for row in rows), blob)
        with self._lock:
            if len(content) <= self._known.maxsize:
                self._known[place] = snapshot
        return snapshot
