"""Puts changed segments into the shared cache, not at every change but when a segment has come to rest for a moment."""

import asyncio
import time

import structlog

from veilface.common.errors import VeilfaceError
from veilface.common.pool import BoundedPool
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.background import BackgroundTasks
from veilface.matching.domain.segments.memory import SegmentMemory
from veilface.matching.domain.segments.packed import PackedSegment
from veilface.matching.domain.segments.shared import SharedCache
from veilface.matching.domain.store.snapshots import SnapshotRecords


class SegmentPublisher:
    """Publishes the segments in memory.

    Args:
        memory: Where the segments are.
        shared: Where they go.
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
        shared: SharedCache,
        snapshots: SnapshotRecords,
        compute: BoundedPool,
        storage: BoundedPool,
        quiet_s: float,
        longest_wait_s: float,
    ) -> None:
        self._memory = memory
        self._shared = shared
        self._snapshots = snapshots
        self._compute = compute
        self._storage = storage
        self._quiet_s = quiet_s
        self._longest_wait_s = longest_wait_s
        self._changed_at: dict[SegmentPlace, float] = {}
        self._published: dict[SegmentPlace, bytes] = {}
        self._tasks = BackgroundTasks()
        self._hurry = asyncio.Event()
        self._log = structlog.get_logger()

    def segment_changed(self, place: SegmentPlace) -> None:
        """Publish the segment soon."""
        is_waiting = place in self._changed_at
        self._changed_at[place] = time.monotonic()
        if not is_waiting:
            self._tasks.start("publish", self._publish_when_quiet(place))

    async def restore_lost(self) -> None:
        """Publish again what the shared cache has lost."""
        for place in list(self._published):
            if not await run_patiently(self._storage, self._shared.has, place):
                del self._published[place]
                self.segment_changed(place)

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
        packed = self._memory.get(place)
        if packed is None or self._published.get(place) == packed.content.digest:
            return
        try:
            await self._publish(place, packed)
        except VeilfaceError as error:
            # Nothing is lost: whoever needs the segment packs it again.
            self._log.warning("segment_not_published", reason=error.reason.value)

    async def _publish(self, place: SegmentPlace, packed: PackedSegment) -> None:
        if await self._holds_erased(place, packed):
            return
        serialized = await run_patiently(self._compute, packed.segment.to_bytes)
        if not await run_patiently(self._storage, self._shared.store, place, packed.terms, packed.content, serialized):
            return
        if await self._holds_erased(place, packed):
            await run_patiently(self._storage, self._shared.drop, place)
            return
        self._published[place] = packed.content.digest

    async def _holds_erased(self, place: SegmentPlace, packed: PackedSegment) -> bool:
        current = await run_patiently(self._storage, self._snapshots.segment, place)
        return current is None or len(packed.content.without(current.content)) > 0
