"""The cache that all replicas share, as the rules see it: it may lose anything at any moment."""

from dataclasses import dataclass
from typing import Protocol

from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.content import SegmentContent
from veilface.matching.domain.segments.packed import PackingTerms


@dataclass(frozen=True, slots=True, eq=False)
class CachedSegment:
    """A segment that a shared cache lists.

    Attributes:
        content: What is in it.
        piece_sha256: The digests of its serialized pieces, in order.
        total_bytes: The size of the pieces together.
    """

    place: SegmentPlace
    content: SegmentContent
    piece_sha256: tuple[bytes, ...]
    total_bytes: int


class SharedCache(Protocol):
    """Keeps serialized segments. Every method blocks, and none raises because the cache is in trouble.

    What is not intact is removed and counts as not there.
    """

    def has(self, place: SegmentPlace) -> bool:
        """Whether the cache lists a segment at all. True if it cannot be asked."""
        ...

    def find(self, place: SegmentPlace, terms: PackingTerms) -> CachedSegment | None:
        """What the cache has of a segment; None if nothing."""
        ...

    def load(self, cached: CachedSegment) -> bytes | None:
        """The serialized segment; None if it is gone."""
        ...

    def store(self, place: SegmentPlace, terms: PackingTerms, content: SegmentContent, serialized: bytes) -> bool:
        """Keep a segment in the place of an older one. False if the cache did not take it."""
        ...

    def drop(self, place: SegmentPlace) -> bool:
        """Remove a segment and its pieces. False if the cache could not be asked to."""
        ...


class NoSharedCache:
    """For a single replica: nothing is shared."""

    def has(self, place: SegmentPlace) -> bool:
        """See `SharedCache.has`."""
        return True

    def find(self, place: SegmentPlace, terms: PackingTerms) -> CachedSegment | None:
        """See `SharedCache.find`."""
        return None

    def load(self, cached: CachedSegment) -> bytes | None:
        """See `SharedCache.load`."""
        return None

    def store(self, place: SegmentPlace, terms: PackingTerms, content: SegmentContent, serialized: bytes) -> bool:
        """See `SharedCache.store`."""
        return False

    def drop(self, place: SegmentPlace) -> bool:
        """See `SharedCache.drop`."""
        return True
