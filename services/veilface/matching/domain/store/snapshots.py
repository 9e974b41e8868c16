"""What a search needs to know about a gallery, as of one generation."""

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from cachetools import LRUCache
from sqlalchemy import Connection, Select, select
from sqlalchemy.orm import InstrumentedAttribute

from veilface.common.database import Database
from veilface.common.names import GalleryName
from veilface.crypto.contract import Metric, TemplateSpace
from veilface.matching.domain.records import BlobReference, Gallery, SegmentPlace
from veilface.matching.domain.segments.content import DIGEST_BYTES, SegmentContent
from veilface.matching.domain.segments.directory import Directory
from veilface.matching.domain.segments.packed import PackingTerms
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
        content, subject_ids = _load_rows(connection, place)
        if blob is not None:
            imported, imported_ids = _load_imported(connection, place, blob)
            content, subject_ids = _merged(imported, imported_ids, content, subject_ids)
        snapshot = SegmentSnapshot(place, terms, generation, content, subject_ids, blob)
        with self._lock:
            if len(content) <= self._known.maxsize:
                self._known[place] = snapshot
        return snapshot


def _load_rows(connection: Connection, place: SegmentPlace) -> tuple[SegmentContent, tuple[str, ...]]:
    """The slots whose templates are in rows."""
    columns = (EnrollmentRow.slot, EnrollmentRow.number, EnrollmentRow.subject_id, EnrollmentRow.template_sha256)
    rows = connection.execute(_occupied(place, *columns).where(EnrollmentRow.template_bytes > 0)).all()
    if not rows:
        return SegmentContent.empty(), ()
    slots, numbers, subject_ids, digests = zip(*rows, strict=True)
    template_sha256 = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
    return SegmentContent(np.array(slots, np.intp), np.array(numbers, np.uint64), template_sha256), subject_ids


def _load_imported(
    connection: Connection, place: SegmentPlace, blob: BlobReference
) -> tuple[SegmentContent, tuple[str, ...]]:
    """The slots that are in the blob. There may be many, and the digest is the same for all."""
    columns = (EnrollmentRow.slot, EnrollmentRow.number, EnrollmentRow.subject_id)
    rows = connection.execute(_occupied(place, *columns).where(EnrollmentRow.template_bytes == 0)).all()
    if not rows:
        return SegmentContent.empty(), ()
    slots, numbers, subject_ids = zip(*rows, strict=True)
    template_sha256 = np.broadcast_to(np.frombuffer(blob.sha256, dtype=np.uint8), (len(rows), DIGEST_BYTES))
    return SegmentContent(np.array(slots, np.intp), np.array(numbers, np.uint64), template_sha256), subject_ids


def _occupied(place: SegmentPlace, *columns: InstrumentedAttribute[Any]) -> Select[Any]:
    return (
        select(*columns)
        .where(EnrollmentRow.gallery_uid == place.gallery_uid, EnrollmentRow.segment == place.number)
        .order_by(EnrollmentRow.slot)
    )


def _merged(
    one: SegmentContent, one_ids: tuple[str, ...], other: SegmentContent, other_ids: tuple[str, ...]
) -> tuple[SegmentContent, tuple[str, ...]]:
    if not len(other):
        return one, one_ids
    both = (*one_ids, *other_ids)
    order = np.argsort(np.concatenate([one.slots, other.slots]), kind="stable")
    return one.joined(other), tuple(both[index] for index in order)
