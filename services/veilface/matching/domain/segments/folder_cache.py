"""Segments in a local folder: they outlive the process and are mapped into memory, not read.

A segment is two files named by its place: a sealed listing, and the serialized segment under a name with its digest.
Files are replaced in one step and never changed, so that a mapped one stays what it was.
"""

import hashlib
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import structlog
from cachetools import LRUCache

from veilface.common.errors import DataLossError
from veilface.matching.domain.blobs.mapping import BlobMapping, file_sha256, fingerprint
from veilface.matching.domain.limits import MAPPED_SEGMENTS
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.cache import CachedSegment, CacheEvents, Origin
from veilface.matching.domain.segments.content import SegmentContent
from veilface.matching.domain.segments.listing import open_listing, seal_listing
from veilface.matching.domain.segments.packed import PackingTerms
from veilface.matching.domain.store.identity import StoreIdentity

T = TypeVar("T")

_LISTING_NAME: Final = re.compile(r"(\d+)-(\d+)\.listing")


@dataclass(frozen=True, slots=True, eq=False)
class _Mapped:
    """A segment whose digest was checked when its file had this fingerprint."""

    fingerprint: tuple[int, ...]
    mapping: BlobMapping


class FolderSegmentCache:
    """Segments in a folder of this replica.

    Args:
        folder: Made if it is not there.
        identity: Of the record store: what others put there is refused.
        events: Told about refusals.
    """

    origin = Origin.DISK

    def __init__(self, folder: Path, identity: StoreIdentity, events: CacheEvents) -> None:
        self._folder = folder / identity.store_id
        self._key = identity.derive("segment folder")
        self._events = events
        self._lock = threading.Lock()
        self._mapped: LRUCache[SegmentPlace, _Mapped] = LRUCache(maxsize=MAPPED_SEGMENTS)
        self._log = structlog.get_logger()
        self._attempt(lambda: self._folder.mkdir(mode=0o700, parents=True, exist_ok=True), fallback=None)

    def has(self, place: SegmentPlace) -> bool:
        """See `SegmentCache.has`."""
        return self._attempt(self._listing_path(place).exists, fallback=True)

    def find(self, place: SegmentPlace, terms: PackingTerms) -> CachedSegment | None:
        """See `SegmentCache.find`."""
        path = self._listing_path(place)
        sealed = self._attempt(lambda: path.read_bytes() if path.exists() else None, fallback=None)
        if sealed is None:
            return None
        try:
            return open_listing(self._key, place, terms, sealed)
        except DataLossError:
            self._refuse(place)
            return None

    def load(self, cached: CachedSegment) -> BlobMapping | None:
        """See `SegmentCache.load`. The digest is checked at first, and again when the file has changed since."""
        place, (digest,) = cached.place, cached.piece_sha256
        path = self._segment_path(place, digest)
        found = self._fingerprint(path)
        if found is None:
            # A listing of what is not there would never be replaced.
            self.drop(place)
            return None
        with self._lock:
            known = self._mapped.get(place)
        if known is not None and known.fingerprint == found:
            return known.mapping
        mapping = self._attempt(lambda: BlobMapping(path) if _is_intact(path, cached) else None, fallback=None)
        if mapping is None or self._fingerprint(path) != found:
            self._refuse(place)
            return None
        with self._lock:
            self._mapped[place] = _Mapped(found, mapping)
        return mapping

    def store(self, place: SegmentPlace, terms: PackingTerms, content: SegmentContent, serialized: bytes) -> bool:
        """See `SegmentCache.store`."""
        digest = hashlib.sha256(serialized).digest()
        sealed = seal_listing(self._key, place, terms, content, [digest], len(serialized))

        def write() -> bool:
            path = self._segment_path(place, digest)
            if not path.exists():
                _replace(path, serialized)
            _replace(self._listing_path(place), sealed)
            for older in self._folder.glob(f"{_stem(place)}-*.segment"):
                if older != path:
                    older.unlink(missing_ok=True)
            return True

        return self._attempt(write, fallback=False)

    def drop(self, place: SegmentPlace) -> bool:
        """See `SegmentCache.drop`."""

        with self._lock:
            # What is mapped keeps its file, and what is in it, on the disk.
            self._mapped.pop(place, None)

        def remove() -> bool:
            self._listing_path(place).unlink(missing_ok=True)
            for path in self._folder.glob(f"{_stem(place)}-*.segment"):
                path.unlink(missing_ok=True)
            return True

        return self._attempt(remove, fallback=False)

    def own_places(self) -> list[SegmentPlace]:
        """See `SegmentCache.own_places`."""
        nothing: list[str] = []
        names = self._attempt(lambda: [path.name for path in self._folder.iterdir()], fallback=nothing)
        matches = [match for match in map(_LISTING_NAME.fullmatch, names) if match is not None]
        return [SegmentPlace(int(match[1]), int(match[2])) for match in matches]

    def _fingerprint(self, path: Path) -> tuple[int, ...] | None:
        return self._attempt(lambda: fingerprint(path) if path.exists() else None, fallback=None)

    def _refuse(self, place: SegmentPlace) -> None:
        self._events.cache_entry_refused()
        self._log.warning("segment_file_refused", gallery_uid=place.gallery_uid, segment=place.number)
        self.drop(place)

    def _attempt(self, operation: Callable[[], T], *, fallback: T) -> T:
        try:
            return operation()
        except OSError as error:
            self._log.warning("segment_folder_failed", error=error.strerror)
            return fallback

    def _listing_path(self, place: SegmentPlace) -> Path:
        return self._folder / f"{_stem(place)}.listing"

    def _segment_path(self, place: SegmentPlace, digest: bytes) -> Path:
        return self._folder / f"{_stem(place)}-{digest.hex()}.segment"


def _stem(place: SegmentPlace) -> str:
    return f"{place.gallery_uid}-{place.number}"


def _is_intact(path: Path, cached: CachedSegment) -> bool:
    return 0 < path.stat().st_size == cached.total_bytes and file_sha256(path) == cached.piece_sha256[0]


def _replace(path: Path, content: bytes) -> None:
    # Not synced: what a power failure leaves behind does not have its digest and is not used.
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
