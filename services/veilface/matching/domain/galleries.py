"""The life of galleries."""

from dataclasses import dataclass

from veilface.common.database import Database
from veilface.common.names import GalleryName, KeyName, KeyVersionName
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import Metric
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.comparers import Comparers
from veilface.matching.domain.paging import PageTokens, page_size
from veilface.matching.domain.records import Gallery, GalleryDraft
from veilface.matching.domain.segments.library import SegmentLibrary
from veilface.matching.domain.store.galleries import GalleryRecords


@dataclass(frozen=True, slots=True)
class NewGallery:
    """What a caller asks for.

    Attributes:
        key: A key, which stands for its primary version, or one version.
        model: Empty: taken from the first enrollment.
        dimension: 0: taken from the first enrollment.
    """

    name: GalleryName
    key: KeyName | KeyVersionName
    model: str
    dimension: int
    metric: Metric


class Galleries:
    """Creates, describes, lists and deletes galleries."""

    def __init__(
        self,
        *,
        database: Database,
        records: GalleryRecords,
        comparers: Comparers,
        library: SegmentLibrary,
        blobs: BlobFolder | None,
        tokens: PageTokens,
        storage: BoundedPool,
    ) -> None:
        self._database = database
        self._records = records
        self._comparers = comparers
        self._library = library
        self._blobs = blobs
        self._tokens = tokens
        self._storage = storage

    async def create(self, wanted: NewGallery) -> Gallery:
        """Create an empty gallery, bound to one version of the key.

        Raises:
            AlreadyExistsError: GALLERY_EXISTS.
            NotFoundError, FailedPreconditionError: The key service's answer about the key.
        """
        material = await self._comparers.describe_key(str(wanted.key))
        draft = GalleryDraft(
            name=wanted.name,
            key_version=material.key_version,
            scheme=material.scheme,
            profile=material.profile,
            model=wanted.model,
            dimension=wanted.dimension,
            metric=wanted.metric,
        )
        return await self._storage.run(self._records.create, draft)

    async def get(self, name: GalleryName) -> Gallery:
        """Describe one. Raises NotFoundError GALLERY_NOT_FOUND."""
        return await self._storage.run(self._records.get, name)

    async def page(self, size: int, token: str) -> tuple[tuple[Gallery, ...], str]:
        """A page in order of the names, and the token of the next page.

        Raises:
            InvalidArgumentError: INVALID_PAGE_TOKEN or INVALID_FIELD.
        """
        query = ("galleries",)
        after = self._tokens.decode(query, token)
        page = await self._storage.run(self._records.page, after, page_size(size))
        return page.items, self._tokens.encode(query, page.next_key)

    async def delete(self, name: GalleryName) -> Gallery:
        """Delete one with everything in it; answers what it was. Raises NotFoundError GALLERY_NOT_FOUND."""
        gallery, places = await self._storage.run(self._records.delete, name)
        await self._library.forget_segments(places)
        if self._blobs is not None:
            await self._storage.run(self._blobs.remove_gallery, gallery.uid)
        await self._storage.run(self._database.forget_erased_pages)
        return gallery
