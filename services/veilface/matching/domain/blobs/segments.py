"""Imported segments, ready to be searched. They stay mapped; only what memory has room for stays resident."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, cast

from cachetools import LRUCache

from veilface.common.errors import DataLossError, InvalidCiphertextError, Reason
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateComparer
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.limits import MAPPED_SEGMENTS
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import BlobReference, SegmentPlace
from veilface.matching.domain.segments.packed import PackedSegment
from veilface.matching.domain.store.snapshots import SegmentSnapshot

_VERIFIED_AT_A_TIME: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Mapped:
    blob: BlobReference
    packed: PackedSegment


class BlobSegments:
    """Opens imported segments. For use on one event loop.

    Args:
        folder: Where their blobs are; None if this replica has none.
        compute: Where segments are parsed.
        storage: Where blocking calls run.
    """

    def __init__(self, folder: BlobFolder | None, compute: BoundedPool, storage: BoundedPool) -> None:
        self._folder = folder
        self._compute = compute
        self._storage = storage
        self._mapped: LRUCache[SegmentPlace, _Mapped] = LRUCache(maxsize=MAPPED_SEGMENTS)

    def mapped(self, place: SegmentPlace) -> PackedSegment | None:
        """The segment, if it was opened before."""
        known = self._mapped.get(place)
        return known.packed if known is not None else None

    async def verify(self, snapshots: Iterable[SegmentSnapshot]) -> None:
        """Check the digests of blobs that are not open yet, several at a time: what `open` would do one by one.

        Raises:
            DataLossError: As for `open`.
        """
        folder = self._folder
        if folder is None:
            return
        at_a_time = asyncio.Semaphore(_VERIFIED_AT_A_TIME)

        async def verify(gallery_uid: int, blob: BlobReference) -> None:
            async with at_a_time:
                await run_patiently(self._storage, folder.verify, gallery_uid, blob)

        checks = [
            verify(snapshot.place.gallery_uid, snapshot.blob)
            for snapshot in snapshots
            if snapshot.blob is not None and snapshot.place not in self._mapped
        ]
        await asyncio.gather(*checks)

    async def open(self, comparer: TemplateComparer, snapshot: SegmentSnapshot) -> PackedSegment:
        """The imported part of a segment.

        Raises:
            DataLossError: If the blob is not there, or not what was imported.
        """
        blob = snapshot.blob
        if self._folder is None or blob is None:
            raise DataLossError(
                Reason.DATA_LOSS,
                "this replica has no folder for imported segments: set VEILFACE_BLOB_FOLDER to the one that all share",
            )
        known = self._mapped.get(snapshot.place)
        if known is not None and known.blob == blob:
            packed = replace(known.packed, content=snapshot.imported)
        else:
            mapping = await run_patiently(self._storage, self._folder.open, snapshot.place.gallery_uid, blob)
            try:
                # The schemes with segments take a view as well, and keep it alive instead of copying.
                view = cast(bytes, mapping.view)
                segment = await run_patiently(self._compute, comparer.segment_from_bytes, view, snapshot.terms.space)
            except InvalidCiphertextError as error:
                raise DataLossError(
                    Reason.DATA_LOSS, f"an imported segment is not one of this version: {error.message}"
                ) from error
            packed = PackedSegment(snapshot.terms, snapshot.imported, segment, mapping, is_imported=True)
        self._mapped[snapshot.place] = _Mapped(blob, packed)
        return packed

    def forget(self, places: Iterable[SegmentPlace]) -> None:
        """Forget segments of a deleted gallery."""
        for place in places:
            self._mapped.pop(place, None)
