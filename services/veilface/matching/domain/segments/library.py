"""Finds packed segments: in memory, else in the shared cache, else by packing the stored templates.

Whatever is found is compared with the content that the record store lists. Templates that are missing are added to it;
what it holds beyond is never scored, because only listed slots are.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

import structlog

from veilface.common.errors import InvalidCiphertextError, Reason, UnavailableError, VeilfaceError
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateComparer
from veilface.matching.domain.comparers import Comparers
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import ErasedTemplate, SegmentPlace, TemplateRow
from veilface.matching.domain.segments.content import SegmentContent
from veilface.matching.domain.segments.memory import SegmentMemory
from veilface.matching.domain.segments.packed import (
    PackedSegment,
    PackingTerms,
    add_rows,
    copy_segment,
    fits,
    without_erased,
)
from veilface.matching.domain.segments.shared import CachedSegment, SharedCache
from veilface.matching.domain.store.templates import TemplateRecords

T = TypeVar("T")

# A template is added in a few milliseconds, a cached segment is fetched in tens of them.
_FETCH_INSTEAD_OF_ADDING: Final = 16
_ROWS_PER_BATCH: Final = 64


class Origin(StrEnum):
    """Where a packed segment came from, before the missing templates were added."""

    MEMORY = "memory"
    CACHE = "cache"
    ROWS = "rows"


class LibraryEvents(Protocol):
    """Who wants to know what the library does."""

    def segment_obtained(self, origin: Origin) -> None:
        """A segment was asked for and found."""
        ...

    def templates_packed(self, count: int) -> None:
        """Templates were added to a segment."""
        ...


class ChangeListener(Protocol):
    """Who publishes changed segments to the shared cache."""

    def segment_changed(self, place: SegmentPlace) -> None:
        """The segment in memory is a new one."""
        ...


class SegmentLibrary:
    """Gives out packed segments that hold at least what is asked for. For use on one event loop.

    Args:
        memory: The segments of this process.
        shared: The segments of all replicas.
        templates: The stored templates.
        comparers: What packs them.
        compute: Where packing runs.
        storage: Where blocking reads run.
        events: Told what happens.
    """

    def __init__(
        self,
        *,
        memory: SegmentMemory,
        shared: SharedCache,
        templates: TemplateRecords,
        comparers: Comparers,
        compute: BoundedPool,
        storage: BoundedPool,
        events: LibraryEvents,
    ) -> None:
        self._memory = memory
        self._shared = shared
        self._templates = templates
        self._comparers = comparers
        self._compute = compute
        self._storage = storage
        self._events = events
        self._listener: ChangeListener | None = None
        self._locks: WeakValueDictionary[SegmentPlace, asyncio.Lock] = WeakValueDictionary()
        self._running: set[asyncio.Task[Any]] = set()
        self._undropped: set[SegmentPlace] = set()
        self._log = structlog.get_logger()

    def listen(self, listener: ChangeListener) -> None:
        """Tell `listener` about every changed segment."""
        self._listener = listener

    @property
    def memory(self) -> SegmentMemory:
        """The segments of this process."""
        return self._memory

    async def obtain(
        self, place: SegmentPlace, wanted: SegmentContent, terms: PackingTerms
    ) -> tuple[PackedSegment, Origin]:
        """A packed segment that holds everything wanted, and perhaps more.

        Once begun, the work goes on if the caller is gone: the next one needs it as well.

        Raises:
            UnavailableError: GALLERY_CHANGED if a wanted template was erased meanwhile: ask with newer content.
            DataLossError: If a stored template is damaged.
            ResourceExhaustedError: If the pools are full.
        """
        kept = self._memory.get(place)
        if kept is not None and not len(wanted.without(kept.content)):
            packed, origin = kept, Origin.MEMORY
        else:
            packed, origin = await self._to_its_end(self._update(place, wanted, terms))
        self._events.segment_obtained(origin)
        return packed, origin

    async def rebuild(self, place: SegmentPlace, wanted: SegmentContent, terms: PackingTerms) -> None:
        """Replace the segment in memory by one that holds exactly what is wanted; errors as for `obtain`."""
        async with self._lock(place):
            comparer = await self._comparers.get(terms.key_version)
            cached = await run_patiently(self._storage, self._shared.find, place, terms)
            base = None
            if cached is not None and not len(cached.content.without(wanted)):
                base = await self._load(comparer, cached, terms)
            if base is None or not fits(base, wanted):
                base = PackedSegment.empty(comparer, terms)
            packed = await self._complete(comparer, base, wanted, place)
            self._put(place, packed)

    async def forget_erased(self, erased: Sequence[ErasedTemplate]) -> None:
        """Take erased templates out of the segment in memory, and their segments out of the shared cache."""
        by_place: dict[SegmentPlace, list[ErasedTemplate]] = defaultdict(list)
        for each in erased:
            by_place[each.place].append(each)
        await self.drop_shared(by_place)
        for place, templates in by_place.items():
            await self._to_its_end(self._subtract(place, templates))

    async def forget_segments(self, places: Iterable[SegmentPlace]) -> None:
        """Forget segments of a deleted gallery."""
        chosen = list(places)
        for place in chosen:
            self._memory.drop(place)
        await self.drop_shared(chosen)

    async def drop_shared(self, places: Iterable[SegmentPlace]) -> None:
        """Remove segments from the shared cache; what it could not be asked to remove is asked again next time."""
        for place in {*places, *self._undropped}:
            if await run_patiently(self._storage, self._shared.drop, place):
                self._undropped.discard(place)
            else:
                self._undropped.add(place)

    async def _update(
        self, place: SegmentPlace, wanted: SegmentContent, terms: PackingTerms
    ) -> tuple[PackedSegment, Origin]:
        async with self._lock(place):
            kept = self._memory.get(place)
            if kept is not None and not len(wanted.without(kept.content)):
                return kept, Origin.MEMORY
            comparer = await self._comparers.get(terms.key_version)
            base, origin = await self._base(comparer, place, wanted, terms)
            packed = await self._complete(comparer, base, wanted, place)
            self._put(place, packed, is_shared=origin is Origin.CACHE and packed is base)
            return packed, origin

    async def _base(
        self, comparer: TemplateComparer, place: SegmentPlace, wanted: SegmentContent, terms: PackingTerms
    ) -> tuple[PackedSegment, Origin]:
        kept = self._memory.get(place)
        if kept is not None and not fits(kept, wanted):
            self._memory.drop(place)
            kept = None
        missing = len(wanted) if kept is None else len(wanted.without(kept.content))
        if missing > _FETCH_INSTEAD_OF_ADDING or kept is None:
            cached = await run_patiently(self._storage, self._shared.find, place, terms)
            if cached is not None and len(wanted.without(cached.content)) < missing:
                loaded = await self._load(comparer, cached, terms)
                if loaded is not None and fits(loaded, wanted):
                    return loaded, Origin.CACHE
        if kept is not None:
            return kept, Origin.MEMORY
        return PackedSegment.empty(comparer, terms), Origin.ROWS

    async def _load(
        self, comparer: TemplateComparer, cached: CachedSegment, terms: PackingTerms
    ) -> PackedSegment | None:
        serialized = await run_patiently(self._storage, self._shared.load, cached)
        if serialized is None:
            return None
        try:
            segment = await run_patiently(self._compute, comparer.segment_from_bytes, serialized, terms.space)
        except InvalidCiphertextError as error:
            # Intact, but of another version of this program.
            self._log.info("cached_segment_not_usable", reason=error.reason.value)
            return None
        return PackedSegment(terms, cached.content, segment)

    async def _complete(
        self, comparer: TemplateComparer, base: PackedSegment, wanted: SegmentContent, place: SegmentPlace
    ) -> PackedSegment:
        missing = wanted.without(base.content)
        if not len(missing):
            return base
        segment = await run_patiently(self._compute, copy_segment, comparer, base)
        for start in range(0, len(missing), _ROWS_PER_BATCH):
            numbers = [int(number) for number in missing.enrollments[start : start + _ROWS_PER_BATCH]]
            rows = await run_patiently(self._storage, self._templates.read, place.gallery_uid, numbers)
            await run_patiently(self._compute, add_rows, segment, self._checked(rows, missing, start))
            self._events.templates_packed(len(rows))
        return PackedSegment(base.terms, base.content.joined(missing), segment)

    def _checked(self, rows: list[TemplateRow], missing: SegmentContent, start: int) -> list[TemplateRow]:
        by_number = {row.enrollment: row for row in rows}
        found = []
        for index in range(start, min(start + _ROWS_PER_BATCH, len(missing))):
            row = by_number.get(int(missing.enrollments[index]))
            if row is None or (row.slot, row.template_sha256) != (
                int(missing.slots[index]),
                missing.template_sha256[index].tobytes(),
            ):
                raise UnavailableError(Reason.GALLERY_CHANGED, "the gallery was changed while it was read; try again")
            found.append(row)
        return found

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
                self._put(place, remaining)

    def _put(self, place: SegmentPlace, packed: PackedSegment, *, is_shared: bool = False) -> None:
        self._memory.put(place, packed)
        if self._listener is not None and not is_shared:
            self._listener.segment_changed(place)

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
