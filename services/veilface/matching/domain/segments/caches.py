"""All caches of segments together, the nearest first."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import structlog

from veilface.common.errors import InvalidCiphertextError
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import Segment, TemplateComparer
from veilface.matching.domain.blobs.mapping import BlobMapping
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.cache import CachedSegment, SegmentCache
from veilface.matching.domain.segments.packed import PackedSegment, fits
from veilface.matching.domain.store.snapshots import SegmentSnapshot


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A segment in a cache that may serve for a snapshot.

    Attributes:
        missing: How many of the wanted templates it does not hold.
        surplus: How many templates it holds beyond: newer ones, or erased ones.
    """

    cache: SegmentCache
    cached: CachedSegment
    missing: int
    surplus: int


class SegmentCaches:
    """Looks for segments in several caches.

    Args:
        caches: The nearest first.
        compute: Where segments are parsed.
        storage: Where blocking calls run.
    """

    def __init__(self, caches: Sequence[SegmentCache], compute: BoundedPool, storage: BoundedPool) -> None:
        self._caches = tuple(caches)
        self._compute = compute
        self._storage = storage
        # The listing that led to a mapping binds the key version and the space, too.
        self._parsed: WeakKeyDictionary[BlobMapping, Segment] = WeakKeyDictionary()
        self._undropped: set[tuple[SegmentCache, SegmentPlace]] = set()
        self._log = structlog.get_logger()

    @property
    def members(self) -> tuple[SegmentCache, ...]:
        """Each of them, the nearest first."""
        return self._caches

    async def candidates(self, snapshot: SegmentSnapshot) -> AsyncGenerator[Candidate]:
        """What there is for a snapshot: the nearest that misses nothing, else the one that misses least.

        A cache is asked when the one before it turned out to be of no use.
        """
        partial = []
        for cache in self._caches:
            cached = await run_patiently(self._storage, cache.find, snapshot.place, snapshot.terms)
            if cached is None:
                continue
            missing = len(snapshot.content.without(cached.content))
            surplus = len(cached.content.without(snapshot.content))
            candidate = Candidate(cache, cached, missing, surplus)
            if missing:
                partial.append(candidate)
            else:
                yield candidate
        for candidate in sorted(partial, key=lambda candidate: candidate.missing):
            yield candidate

    async def load(
        self, comparer: TemplateComparer, candidate: Candidate, snapshot: SegmentSnapshot
    ) -> PackedSegment | None:
        """The packed segment; None if it is gone, or of no use here."""
        serialized = await run_patiently(self._storage, candidate.cache.load, candidate.cached)
        if serialized is None:
            return None
        mapping = serialized if isinstance(serialized, BlobMapping) else None
        segment = None if mapping is None else self._parsed.get(mapping)
        if segment is None:
            # The schemes with segments take a view as well, and keep it alive instead of copying.
            view = cast(bytes, serialized if mapping is None else mapping.view)
            try:
                segment = await run_patiently(self._compute, comparer.segment_from_bytes, view, snapshot.terms.space)
            except InvalidCiphertextError as error:
                # Intact, but of another version of this program.
                self._log.info("cached_segment_not_usable", reason=error.reason.value)
                return None
            if mapping is not None:
                self._parsed[mapping] = segment
        packed = PackedSegment(snapshot.terms, candidate.cached.content, segment, mapping)
        return packed if fits(packed, snapshot.content) else None

    async def drop(self, places: Iterable[SegmentPlace] = ()) -> None:
        """Remove segments from all caches; one that could not be asked to is asked again at the next call."""
        for cache, place in {*((cache, place) for place in places for cache in self._caches), *self._undropped}:
            if await run_patiently(self._storage, cache.drop, place):
                self._undropped.discard((cache, place))
            else:
                self._undropped.add((cache, place))
