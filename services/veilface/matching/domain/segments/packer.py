"""Packs fresh enrollments soon after they are made, so that the next search need not."""

import asyncio
from typing import Final

import structlog

from veilface.common.errors import Reason, VeilfaceError
from veilface.common.pool import BoundedPool
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.background import BackgroundTasks
from veilface.matching.domain.segments.library import SegmentLibrary
from veilface.matching.domain.store.snapshots import SnapshotRecords

_TRIES: Final = 5
_PAUSE_S: Final = 0.2
# Templates in neighboring slots are packed for little more than one of them.
_GATHER_S: Final = 0.1


class SegmentPacker:
    """Brings marked segments up to date, one at a time; what is enrolled meanwhile is packed together.

    Args:
        library: Packs and keeps the segments.
        snapshots: What they should hold.
        storage: Where blocking reads run.
    """

    def __init__(self, library: SegmentLibrary, snapshots: SnapshotRecords, storage: BoundedPool) -> None:
        self._library = library
        self._snapshots = snapshots
        self._storage = storage
        self._marked: dict[SegmentPlace, None] = {}
        self._tasks = BackgroundTasks()
        self._is_packing = False
        self._log = structlog.get_logger()

    def mark(self, place: SegmentPlace) -> None:
        """Pack what is new in a segment."""
        self._marked[place] = None
        if not self._is_packing:
            self._is_packing = True
            self._tasks.start("pack", self._pack_marked())

    async def idle(self) -> None:
        """Wait until everything marked is packed."""
        await self._tasks.join()

    async def close(self) -> None:
        """Stop; what is not packed yet is packed by a search."""
        await self._tasks.stop()

    async def _pack_marked(self) -> None:
        try:
            while self._marked:
                await asyncio.sleep(_GATHER_S)
                place = next(iter(self._marked))
                del self._marked[place]
                await self._pack(place)
        finally:
            self._is_packing = False

    async def _pack(self, place: SegmentPlace) -> None:
        for _ in range(_TRIES):
            try:
                snapshot = await run_patiently(self._storage, self._snapshots.segment, place)
                if snapshot is not None:
                    await self._library.obtain(snapshot)
                return
            except VeilfaceError as error:
                if error.reason not in (Reason.GALLERY_CHANGED, Reason.DEPENDENCY_UNAVAILABLE, Reason.OVERLOADED):
                    self._log.warning("segment_not_packed", segment=place.number, reason=error.reason.value)
                    return
            await asyncio.sleep(_PAUSE_S)
