"""Looks after erasure on every replica: nothing erased stays in memory or in the shared cache for long.

It also brings back what the shared cache has lost.
The replica that erases takes templates out at once. The others find out here: they replace segments that hold
something erased, and forget those of deleted galleries.
"""

import asyncio

import structlog

from veilface.common.errors import VeilfaceError
from veilface.common.pool import BoundedPool
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.background import BackgroundTasks
from veilface.matching.domain.segments.library import SegmentLibrary
from veilface.matching.domain.segments.publisher import SegmentPublisher
from veilface.matching.domain.store.snapshots import SnapshotRecords


class SegmentSweeper:
    """Compares the segments in memory with the record store from time to time.

    Args:
        library: Has the segments.
        publisher: Has published them.
        snapshots: What they should hold.
        storage: Where blocking reads run.
        interval_s: The time between two rounds.
    """

    def __init__(
        self,
        library: SegmentLibrary,
        publisher: SegmentPublisher,
        snapshots: SnapshotRecords,
        storage: BoundedPool,
        interval_s: float,
    ) -> None:
        self._library = library
        self._publisher = publisher
        self._snapshots = snapshots
        self._storage = storage
        self._interval_s = interval_s
        self._tasks = BackgroundTasks()
        self._log = structlog.get_logger()

    def start(self) -> None:
        """Sweep until closed."""
        self._tasks.start("sweep", self._sweep_forever())

    async def close(self) -> None:
        """Stop."""
        await self._tasks.stop()

    async def sweep(self) -> None:
        """One round."""
        await self._library.drop_shared(())
        for place in self._library.memory.places:
            try:
                await self._clean(place)
            except VeilfaceError as error:
                self._log.warning("segment_not_swept", segment=place.number, reason=error.reason.value)
        await self._publisher.restore_lost()

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self.sweep()

    async def _clean(self, place: SegmentPlace) -> None:
        packed = self._library.memory.peek(place)
        if packed is None:
            return
        current = await run_patiently(self._storage, self._snapshots.segment, place)
        if current is None:
            await self._library.forget_segments([place])
        elif len(packed.content.without(current.content)):
            await self._library.rebuild(place, current.content, packed.terms)
