"""Puts changed segments into the caches, not at every change but when a segment has come to rest for a moment."""

import asyncio
import time
from typing import Final

import structlog

from veilface.common.errors import VeilfaceError
from veilface.common.pool import BoundedPool
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.background import BackgroundTasks
from veilface.matching.domain.segments.cache import SegmentCache
from veilface.matching.domain.segments.caches import SegmentCaches
from veilface.matching.domain.segments.memory import SegmentMemory
from veilface.matching.domain.segments.packed import PackedSegment
from veilface.matching.domain.store.snapshots import SnapshotRecords

_RESTORED_AT_ONCE: Final = 4


class SegmentPublisher:
    """Publishes the segments in memory, one at a time.

    Args:
        memory: Where the segments are.
        caches: Where they go.
        snapshots: What the segments should hold: one that holds an erased template is not published.
        compute: Where serialization runs.
        storage: Where blocking writes run.
        quiet_s: For how long a segment must not have changed.
        longest_wait_s: After how long it is published all the same.
    """

    def __init__(
        self,
        *,
        memory: SegmentMemory,
        caches: SegmentCaches,
        snapshots: SnapshotRecords,
        compute: BoundedPool,
        storage: BoundedPool,
        quiet_s: float,
        longest_wait_s: float,
    ) -> None:
        self._memory = memory
        self._caches = caches.members
        self._snapshots = snapshots
        self._compute = compute
        self._storage = storage
        self._quiet_s = quiet_s
        self._longest_wait_s = longest_wait_s
        self._changed_at: dict[SegmentPlace, float] = {}
        self._published: dict[tuple[SegmentCache, SegmentPlace], bytes] = {}
        self._one_at_a_time = asyncio.Lock()
        self._tasks = BackgroundTasks()
        self._hurry = asyncio.Event()
        self._log = structlog.get_logger()

    def segment_changed(self, place: SegmentPlace, known_to: SegmentCache | None = None) -> None:
        """Publish the segment in memory soon, except to a cache that it came from."""
        packed = self._memory.peek(place)
        if known_to is not None and packed is not None:
            self._published[known_to, place] = packed.content.digest
        is_waiting = place in self._changed_at
        self._changed_at[place] = time.monotonic()
        if not is_waiting:
            self._tasks.start("publish", self._publish_when_quiet(place))

    async def segment_passing(
        self, place: SegmentPlace, packed: PackedSegment, known_to: SegmentCache | None = None
    ) -> None:
        """Publish a segment that may not stay in memory now, except to the cache that it came from."""
        if known_to is not None:
            self._published[known_to, place] = packed.content.digest
        await self._publish_carefully(place, packed)

    def segment_dropped(self, place: SegmentPlace) -> None:
        """The caches do not have the segment any more."""
        for cache in self._caches:
            self._published.pop((cache, place), None)

    async def restore_lost(self) -> None:
        """Publish some of what a cache has lost, or did not take before.

        Only some, or a cache with too little room for everything would be filled in vain again and again.
        """
        restored = 0
        for place in self._memory.places:
            if await self._is_lacking(place):
                self.segment_changed(place)
                restored += 1
            if restored == _RESTORED_AT_ONCE:
                return

    async def flush(self) -> None:
        """Publish everything that waits, now."""
        self._hurry.set()
        try:
            await self._tasks.join()
        finally:
            self._hurry.clear()

    async def close(self, timeout_s: float) -> None:
        """Publish what can be published within `timeout_s` seconds, and stop."""
        try:
            await asyncio.wait_for(self.flush(), timeout_s)
        except TimeoutError:
            await self._tasks.stop()

    async def _publish_when_quiet(self, place: SegmentPlace) -> None:
        first = time.monotonic()
        while not self._hurry.is_set():
            due = min(self._changed_at[place] + self._quiet_s, first + self._longest_wait_s)
            remaining_s = due - time.monotonic()
            if remaining_s <= 0:
                break
            try:
                await asyncio.wait_for(self._hurry.wait(), remaining_s)
            except TimeoutError:
                continue
        del self._changed_at[place]
        packed = self._memory.peek(place)
        if packed is not None:
            await self._publish_carefully(place, packed)

    async def _publish_carefully(self, place: SegmentPlace, packed: PackedSegment) -> None:
        # A serialized segment is large: never hold several.
        async with self._one_at_a_time:
            try:
                await self._publish(place, packed)
            except VeilfaceError as error:
                # Nothing is lost: whoever needs the segment packs it again.
                self._log.warning("segment_not_published", reason=error.reason.value)

    async def _publish(self, place: SegmentPlace, packed: PackedSegment) -> None:
        if packed.is_imported:
            return
        lacking = [cache for cache in self._caches if not await self._has_it(cache, place, packed)]
        if not lacking or await self._holds_erased(place, packed):
            return
        serialized = await run_patiently(self._compute, packed.segment.to_bytes)
        for cache in lacking:
            if await run_patiently(self._storage, cache.store, place, packed.terms, packed.content, serialized):
                self._published[cache, place] = packed.content.digest
        if await self._holds_erased(place, packed):
            for cache in lacking:
                await run_patiently(self._storage, cache.drop, place)
                self._published.pop((cache, place), None)

    async def _is_lacking(self, place: SegmentPlace) -> bool:
        packed = self._memory.peek(place)
        if packed is None or packed.is_imported:
            return False
        for cache in self._caches:
            if self._published.get((cache, place)) != packed.content.digest:
                return True
            if not await run_patiently(self._storage, cache.has, place):
                self._published.pop((cache, place), None)
                return True
        return False

    async def _has_it(self, cache: SegmentCache, place: SegmentPlace, packed: PackedSegment) -> bool:
        if self._published.get((cache, place)) == packed.content.digest:
            return True
        cached = await run_patiently(self._storage, cache.find, place, packed.terms)
        if cached is None or cached.content.digest != packed.content.digest:
            return False
        if not await run_patiently(self._storage, cache.has, place):
            # Listed, but not whole.
            return False
        self._published[cache, place] = packed.content.digest
        return True

    async def _holds_erased(self, place: SegmentPlace, packed: PackedSegment) -> bool:
        current = await run_patiently(self._storage, self._snapshots.segment, place)
        return current is None or len(packed.content.without(current.content)) > 0
