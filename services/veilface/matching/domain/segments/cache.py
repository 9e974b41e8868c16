"""Where serialized segments are kept for later, as the rules see it: it may lose anything at any moment."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from veilface.matching.domain.blobs.mapping import BlobMapping
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.content import SegmentContent
from veilface.matching.domain.segments.packed import PackingTerms


class Origin(StrEnum):
    """Where a packed segment came from, before the missing templates were added."""

    MEMORY = "memory"
    DISK = "disk"
    REDIS = "redis"
    ROWS = "rows"


@dataclass(frozen=True, slots=True, eq=False)
class CachedSegment:
    """A segment that a cache lists.

    Attributes:
        content: What is in it.
        piece_sha256: The digests of its serialized pieces, in order.
        total_bytes: The size of the pieces together.
    """

    place: SegmentPlace
    content: SegmentContent
    piece_sha256: tuple[bytes, ...]
    total_bytes: int


class SegmentCache(Protocol):
    """Keeps serialized segments. Every method blocks, and none raises because the cache is in trouble.

    What is not intact is removed and counts as not there.
    """

    @property
    def origin(self) -> Origin:
        """What segments from here are said to come from."""
        ...

    def has(self, place: SegmentPlace) -> bool:
        """Whether there is a segment, as far as can be told at little cost. True if the cache cannot be asked."""
        ...

    def find(self, place: SegmentPlace, terms: PackingTerms) -> CachedSegment | None:
        """What there is of a segment; None if nothing."""
        ...

    def load(self, cached: CachedSegment) -> bytes | memoryview | BlobMapping | None:
        """The serialized segment; None if it is gone, and then it is not listed any more either."""
        ...

    def store(self, place: SegmentPlace, terms: PackingTerms, content: SegmentContent, serialized: bytes) -> bool:
        """Keep a segment in the place of an older one. False if the cache did not take it."""
        ...

    def drop(self, place: SegmentPlace) -> bool:
        """Remove a segment and its pieces. False if the cache could not be asked to."""
        ...

    def own_places(self) -> list[SegmentPlace]:
        """The segments that nobody but this process looks after; empty for a cache that replicas share."""
        ...


class CacheEvents(Protocol):
    """Who wants to know how the caches do."""

    def cache_reachable(self, is_reachable: bool) -> None:
        """The cache that replicas share answered, or did not."""
        ...

    def cache_entry_refused(self) -> None:
        """An entry was not what this record store had put there."""
        ...
