"""Looks after erasure on every replica: nothing erased stays in memory, on disk or in Redis for long.

The replica that erases takes templates out at once. The others find out here: they replace segments that hold
something erased, and forget those of deleted galleries. What a cache has lost is brought back, too.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from veilface.common.errors import VeilfaceError
from veilface.common.pool import BoundedPool
from veilface.matching.domain.blobs.garbage import BlobGarbage
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.background import BackgroundTasks
from veilface.matching.domain.segments.cache import SegmentCache
from veilface.matching.domain.segments.caches import SegmentCaches
from veilface.matching.domain.segments.library import SegmentLibrary
from veilface.matching.domain.segments.publisher import SegmentPublisher
from veilface.matching.domain.store.snapshots import SnapshotRecords


class SegmentSweeper:
    """Compares the segments of this replica with the record store from time to time.

    Args:
        library: Has the segments in memory.
        caches: Have segments as well, some of them for this replica only.
        publisher: Has published the segments.
        snapshots: What they should hold.
        storage: Where blocking reads run.
        interval_s: The time between two rounds.
        garbage: Blobs that nothing refers to; None if there are no blobs.
    """

    def __init__(
        self,
        *,
        library: SegmentLibrary,
        caches: SegmentCaches,
        publisher: SegmentPublisher,
        snapshots: SnapshotRecords,
        storage: BoundedPool,
        interval_s: float,
        garbage: BlobGarbage | None,
    ) -> None:
        self._library = library
        self._caches = caches
        self._publisher = publisher
        self._snapshots = snapshots
        self._storage = storage
        self._interval_s = interval_s
        self._garbage = garbage
        self._tasks = BackgroundTasks()
        self._log = structlog.get_logger()

    def start(self) -> None:
        """Sweep now and again until closed."""
        self._tasks.start("sweep", self._sweep_forever())

    async def close(self) -> None:
        """Stop."""
        await self._tasks.stop()

    async def sweep(self) -> None:
        """One round."""
        await self._caches.drop()
        for cache in self._caches.members:
            for place in await run_patiently(self._storage, cache.own_places):
                await self._carefully(self._clean_cache(cache, place), place)
        for place in self._library.memory.places:
            await self._carefully(self._clean_memory(place), place)
        await self._publisher.restore_lost()
        if self._garbage is not None:
            await self._collect_garbage(self._garbage)

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self.sweep()
            except VeilfaceError as error:
                # An overload or a database that is away ends: the next round looks at everything again.
                self._log.warning("round_not_swept", reason=error.reason.value)
            await asyncio.sleep(self._interval_s)

    async def _collect_garbage(self, garbage: BlobGarbage) -> None:
        try:
            await garbage.collect()
        except VeilfaceError as error:
            self._log.warning("blobs_not_swept", reason=error.reason.value)

    async def _carefully(self, cleaning: Coroutine[Any, Any, None], place: SegmentPlace) -> None:
        try:
            await cleaning
        except VeilfaceError as error:
            self._log.warning("segment_not_swept", segment=place.number, reason=error.reason.value)

    async def _clean_memory(self, place: SegmentPlace) -> None:
        packed = self._library.memory.peek(place)
        if packed is None:
            return
        current = await run_patiently(self._storage, self._snapshots.segment, place)
        if current is None:
            await self._library.forget_segments([place])
        elif len(packed.content.without(current.content)):
            await self._library.rebuild(current)

    async def _clean_cache(self, cache: SegmentCache, place: SegmentPlace) -> None:
        current = await run_patiently(self._storage, self._snapshots.segment, place)
        cached = None
        if current is not None:
            cached = await run_patiently(self._storage, cache.find, place, current.terms)
        # Read again: what was enrolled between the two readings is not erased.
        current = await run_patiently(self._storage, self._snapshots.segment, place)
        if current is None or cached is None or len(cached.content.without(current.content)):
            await run_patiently(self._storage, cache.drop, place)
