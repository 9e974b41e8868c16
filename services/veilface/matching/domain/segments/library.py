"""Finds packed segments: in memory, else an imported one, else in a cache, else by packing the stored templates.

Whatever is found is compared with the content that the record store lists. Templates that are missing are added to it;
what it holds beyond is never scored, because only listed slots are.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

import structlog

from veilface.common.errors import VeilfaceError
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateComparer
from veilface.matching.domain.blobs.segments import BlobSegments
from veilface.matching.domain.comparers import Comparers
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import ErasedTemplate, SegmentPlace
from veilface.matching.domain.segments.cache import Origin, SegmentCache
from veilface.matching.domain.segments.caches import Candidate, SegmentCaches
from veilface.matching.domain.segments.memory import SegmentMemory
from veilface.matching.domain.segments.packed import PackedSegment, fits, without_erased
from veilface.matching.domain.segments.packing import Packing
from veilface.matching.domain.store.snapshots import SegmentSnapshot

T = TypeVar("T")

# A template is added in a few milliseconds, a cached segment is fetched in tens of them.
_FETCH_INSTEAD_OF_ADDING: Final = 16


class LibraryEvents(Protocol):
    """Who wants to know what the library does."""

    def segment_obtained(self, origin: Origin) -> None:
        """A segment was asked for and found."""
        ...


class ChangeListener(Protocol):
    """Who publishes changed segments to the caches."""

    def segment_changed(self, place: SegmentPlace, known_to: SegmentCache | None = None) -> None:
        """The segment in memory is a new one; one cache may have it already."""
        ...

    async def segment_passing(
        self, place: SegmentPlace, packed: PackedSegment, known_to: SegmentCache | None = None
    ) -> None:
        """The segment is a new one that may not stay in memory; one cache may have it already."""
        ...

    def segment_dropped(self, place: SegmentPlace) -> None:
        """The caches do not have the segment any more."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    packed: PackedSegment
    origin: Origin
    cache: SegmentCache | None = None


class SegmentLibrary:
    """Gives out packed segments that hold at least what is asked for. For use on one event loop.

    Args:
        memory: The segments of this process.
        caches: Where segments are kept beside.
        blobs: The imported segments.
        packing: Adds what is missing.
        comparers: Of the key versions.
        compute: Where CPU work runs.
        events: Told what happens.
    """

    def __init__(
        self,
        *,
        memory: SegmentMemory,
        caches: SegmentCaches,
        blobs: BlobSegments,
        packing: Packing,
        comparers: Comparers,
        compute: BoundedPool,
        events: LibraryEvents,
    ) -> None:
        self._memory = memory
        self._caches = caches
        self._blobs = blobs
        self._packing = packing
        self._comparers = comparers
        self._compute = compute
        self._events = events
        self._listener: ChangeListener | None = None
        self._locks: WeakValueDictionary[SegmentPlace, asyncio.Lock] = WeakValueDictionary()
        self._running: set[asyncio.Task[Any]] = set()
        self._log = structlog.get_logger()

    def listen(self, listener: ChangeListener) -> None:
        """Tell `listener` about every changed segment."""
        self._listener = listener

    @property
    def memory(self) -> SegmentMemory:
        """The segments of this process."""
        return self._memory

    async def obtain(self, snapshot: SegmentSnapshot) -> tuple[PackedSegment, Origin]:
        """A packed segment that holds everything in the snapshot, and perhaps more.

        Once begun, the work goes on if the caller is gone: the next one needs it as well.

        Raises:
            UnavailableError: GALLERY_CHANGED if a template was erased meanwhile: ask with a newer snapshot.
            DataLossError: If a stored template or an imported segment is damaged.
            ResourceExhaustedError: If the pools stay full.
        """
        place = snapshot.place
        kept = self._memory.get(place)
        mapped = self._blobs.mapped(place)
        if kept is not None and _covers(kept, snapshot):
            packed, origin = kept, Origin.MEMORY
        elif kept is None and mapped is not None and _covers(mapped, snapshot):
            self._memory.admit(place, mapped)
            packed, origin = mapped, Origin.DISK
        else:
            packed, origin = await self._to_its_end(self._update(snapshot))
        self._events.segment_obtained(origin)
        return packed, origin

    async def verify(self, snapshots: Sequence[SegmentSnapshot]) -> None:
        """Check the imported segments that `obtain` would have to open. Raises DataLossError."""
        await self._blobs.verify(snapshot for snapshot in snapshots if self._memory.peek(snapshot.place) is None)

    async def rebuild(self, snapshot: SegmentSnapshot) -> None:
        """Replace the segment in memory by one that holds exactly the snapshot; errors as for `obtain`."""
        async with self._lock(snapshot.place):
            comparer = await self._comparers.get(snapshot.terms.key_version)
            found = _Found(PackedSegment.empty(comparer, snapshot.terms), Origin.ROWS)
            if len(snapshot.imported):
                found = _Found(await self._blobs.open(comparer, snapshot), Origin.DISK)
            if len(snapshot.content.without(found.packed.content)):
                loaded = await self._load(comparer, snapshot, lambda candidate: not candidate.surplus)
                found = loaded or found
            await self._keep(snapshot.place, await self._packing.complete(comparer, found.packed, snapshot))

    async def forget_erased(self, erased: Sequence[ErasedTemplate]) -> None:
        """Take erased templates out of the segment in memory, and their segments out of the caches."""
        by_place: dict[SegmentPlace, list[ErasedTemplate]] = defaultdict(list)
        for each in erased:
            by_place[each.place].append(each)
        await self._drop_cached(by_place)
        for place, templates in by_place.items():
            await self._to_its_end(self._subtract(place, templates))

    async def forget_segments(self, places: Collection[SegmentPlace]) -> None:
        """Forget segments of a deleted gallery."""
        for place in places:
            self._memory.drop(place)
        self._blobs.forget(places)
        await self._drop_cached(places)

    async def _drop_cached(self, places: Collection[SegmentPlace]) -> None:
        await self._caches.drop(places)
        if self._listener is not None:
            for place in places:
                self._listener.segment_dropped(place)

    async def _update(self, snapshot: SegmentSnapshot) -> tuple[PackedSegment, Origin]:
        place = snapshot.place
        async with self._lock(place):
            kept = self._memory.get(place)
            if kept is not None and _covers(kept, snapshot):
                return kept, Origin.MEMORY
            comparer = await self._comparers.get(snapshot.terms.key_version)
            found = await self._find(comparer, snapshot)
            packed = await self._packing.complete(comparer, found.packed, snapshot)
            await self._keep(place, packed, found.cache if packed is found.packed else None)
            return packed, found.origin

    async def _find(self, comparer: TemplateComparer, snapshot: SegmentSnapshot) -> "_Found":
        kept = self._memory.get(snapshot.place)
        if kept is None or not fits(kept, snapshot.content):
            self._memory.drop(snapshot.place)
            kept = PackedSegment.empty(comparer, snapshot.terms)
        missing = len(snapshot.content.without(kept.content))
        if missing > _FETCH_INSTEAD_OF_ADDING or not len(kept.content):
            missing_in_blob = len(snapshot.content) - len(snapshot.imported)
            if missing_in_blob:
                fewest = min(missing, missing_in_blob)
                loaded = await self._load(comparer, snapshot, lambda candidate: candidate.missing < fewest)
                if loaded is not None:
                    return loaded
            if missing_in_blob < missing:
                return _Found(await self._blobs.open(comparer, snapshot), Origin.DISK)
        return _Found(kept, Origin.MEMORY if len(kept.content) else Origin.ROWS)

    async def _load(
        self, comparer: TemplateComparer, snapshot: SegmentSnapshot, is_wanted: Callable[[Candidate], bool]
    ) -> "_Found | None":
        """The first wanted candidate that a cache really has."""
        async with aclosing(self._caches.candidates(snapshot)) as candidates:
            async for candidate in candidates:
                if not is_wanted(candidate):
                    continue
                loaded = await self._caches.load(comparer, candidate, snapshot)
                if loaded is not None:
                    return _Found(loaded, candidate.cache.origin, candidate.cache)
                if self._listener is not None:
                    self._listener.segment_dropped(snapshot.place)
        return None

    async def _subtract(self, place: SegmentPlace, erased: Sequence[ErasedTemplate]) -> None:
        async with self._lock(place):
            kept = self._memory.get(place)
            if kept is None:
                return
            try:
                comparer = await self._comparers.get(kept.terms.key_version)
                remaining = await run_patiently(self._compute, without_erased, comparer, kept, erased)
            except VeilfaceError as error:
                # The erasure is committed; what cannot be cleaned is forgotten.
                self._log.warning("segment_forgotten", segment=place.number, reason=error.reason.value)
                remaining = None
            if remaining is None:
                self._memory.drop(place)
            elif remaining is not kept:
                await self._keep(place, remaining)

    async def _keep(self, place: SegmentPlace, packed: PackedSegment, known_to: SegmentCache | None = None) -> None:
        """Keep a segment in memory, and see that the caches have what may not stay there.

        What is imported, or known to a cache, is kept only if there is room for it: it can be had again.
        """
        if packed.is_imported:
            self._memory.admit(place, packed)
            return
        if known_to is None:
            is_safe = self._memory.put(place, packed)
        else:
            is_safe = self._memory.admit(place, packed)
            if known_to is self._caches.members[0]:
                return
        if self._listener is None:
            return
        if is_safe:
            self._listener.segment_changed(place, known_to)
        else:
            await self._listener.segment_passing(place, packed, known_to)

    def _lock(self, place: SegmentPlace) -> asyncio.Lock:
        return self._locks.setdefault(place, asyncio.Lock())

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Read it, or asyncio complains where the caller was gone before.
            task.exception()


def _covers(packed: PackedSegment, snapshot: SegmentSnapshot) -> bool:
    return not len(snapshot.content.without(packed.content))
