"""Removes blobs that no segment refers to: what an import left that was not committed, and what was erased."""

from collections.abc import Callable

from veilface.common.pool import BoundedPool
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.patience import run_patiently


class BlobGarbage:
    """Compares the folder with the record store.

    Args:
        folder: The blobs.
        referenced: The digests that the segments of a gallery refer to.
        exists: Whether there is a gallery of this number.
        storage: Where blocking calls run.
    """

    def __init__(
        self,
        folder: BlobFolder,
        referenced: Callable[[int], frozenset[bytes]],
        exists: Callable[[int], bool],
        storage: BoundedPool,
    ) -> None:
        self._folder = folder
        self._referenced = referenced
        self._exists = exists
        self._storage = storage

    async def collect(self) -> None:
        """One round."""
        for gallery_uid in await run_patiently(self._storage, self._folder.galleries):
            await run_patiently(self._storage, self._collect, gallery_uid)

    def _collect(self, gallery_uid: int) -> None:
        if self._exists(gallery_uid):
            self._folder.remove_others(gallery_uid, self._referenced(gallery_uid))
        else:
            # Its number is never given out again.
            self._folder.remove_gallery(gallery_uid)
