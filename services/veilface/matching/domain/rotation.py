"""Moving galleries to a newer version of their key, without enrolling anybody again.

The key service re-encrypts; what it answers is kept beside what there is. Searches are answered under the old version
all the time, until one transaction switches everything at once. Whatever is interrupted is continued by the next call.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from weakref import WeakValueDictionary

import numpy as np
import structlog
from numpy.typing import NDArray

from veilface.common.attested import SignedTemplate, verify_template
from veilface.common.database import Database
from veilface.common.errors import FailedPreconditionError, Reason, UnavailableError, VeilfaceError
from veilface.common.identities import EMBEDDING_IDENTITY, KEYS_IDENTITY
from veilface.common.names import GalleryName, KeyVersionName
from veilface.common.pool import BoundedPool
from veilface.common.signing import TrustStore
from veilface.crypto.contract import TemplateComparer, TemplateSpace
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.comparers import Comparers
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import BlobReference
from veilface.matching.domain.segments.library import SegmentLibrary
from veilface.matching.domain.segments.packer import SegmentPacker
from veilface.matching.domain.store.compaction import CompactionRecords
from veilface.matching.domain.store.moves import (
    ImportedSegment,
    Move,
    MovedTemplate,
    MoveRecords,
    StoredTemplate,
)
from veilface.matching.domain.store.switching import SwitchRecords

_TEMPLATES_PER_BATCH: Final = 64
_REMOVED_PER_BATCH: Final = 256
# Once the catching up is quick, a round takes well under a second; afterwards nobody is enrolled for a moment.
_ROUNDS_WITH_OPEN_DOORS: Final = 3
_DOORS_CLOSED_S: Final = 5.0
_MOST_ROUNDS: Final = 100


class Reencryption(Protocol):
    """Who re-encrypts: `common.reencryption_client.ReencryptionClient`."""

    async def move_templates(
        self, source: KeyVersionName, target: KeyVersionName, templates: Sequence[SignedTemplate]
    ) -> list[SignedTemplate | VeilfaceError]:
        """The templates under the target version, or why there is none."""
        ...

    async def move_segment(
        self,
        source: KeyVersionName,
        target: KeyVersionName,
        space: TemplateSpace,
        slots: NDArray[np.intp],
        serialized: bytes,
    ) -> bytes:
        """The segment under the target version, its slots closed up."""
        ...


@dataclass(frozen=True, slots=True)
class RotationProgress:
    """How far a move is.

    Attributes:
        moved_count: How many enrollments have a template under the new version.
        is_switched: Whether the gallery is under the new version already.
    """

    moved_count: int
    enrollment_count: int
    is_switched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationStores:
    """The parts of the record store that a move touches, and the folder for blobs if there is one."""

    database: Database
    moves: MoveRecords
    switches: SwitchRecords
    compactions: CompactionRecords
    blobs: BlobFolder | None


class GalleryRotation:
    """Moves galleries.

    Args:
        trust: Whose signatures count; the key service must be among them.
        reencryption: The key service.
    """

    def __init__(
        self,
        *,
        stores: RotationStores,
        trust: TrustStore,
        reencryption: Reencryption,
        comparers: Comparers,
        library: SegmentLibrary,
        packer: SegmentPacker,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._stores = stores
        self._trust = trust
        self._reencryption = reencryption
        self._comparers = comparers
        self._library = library
        self._packer = packer
        self._compute = compute
        self._storage = storage
        self._locks: WeakValueDictionary[GalleryName, asyncio.Lock] = WeakValueDictionary()
        self._log = structlog.get_logger()

    async def rotate(self, name: GalleryName, target: KeyVersionName) -> AsyncGenerator[RotationProgress]:
        """Move a gallery to a newer version of its key, or go on with it. Ends at once if it is there already.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND or KEY_NOT_FOUND.
            InvalidArgumentError: WRONG_KEY_VERSION for anything but a newer version of the gallery's key.
            FailedPreconditionError: KEY_DISABLED and its kin, or INVALID_SETTING without the folder for blobs.
            PermissionDeniedError: POLICY_DENIED; UNTRUSTED_SIGNER if this service does not trust the key service.
            DataLossError: If something stored is damaged.
            UnavailableError: DEPENDENCY_UNAVAILABLE if the key service does not answer; GALLERY_CHANGED if somebody
                else moved the gallery meanwhile. Both are worth another call.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            comparer = await self._comparers.get(str(target))
            for round_number in range(_MOST_ROUNDS):
                move = await self._storage.run(self._stores.moves.begin, name, target)
                if round_number >= _ROUNDS_WITH_OPEN_DOORS and not move.is_switched:
                    await self._storage.run(self._stores.moves.close_for, move, _DOORS_CLOSED_S)
                progress = await self._storage.run(self._stores.moves.progress, move)
                yield RotationProgress(progress.moved_count, progress.enrollment_count, move.is_switched)
                if move.is_switched:
                    await self._remove_old(move)
                    return
                moved_count = progress.moved_count
                async for count in self._catch_up(move, comparer, progress.last_enrollment):
                    moved_count += count
                    yield RotationProgress(moved_count, max(moved_count, progress.enrollment_count), is_switched=False)
                await self._switch(move, comparer)
            raise UnavailableError(
                Reason.GALLERY_MOVING, f"more is enrolled in {name} than can be moved: try again later"
            )

    async def compact(self, name: GalleryName, version: KeyVersionName) -> AsyncGenerator[RotationProgress]:
        """Leave out the deleted slots of imported segments. Searches are answered all the time.

        Segment by segment: what is interrupted is continued by the next call.

        Args:
            version: The key version that the gallery is under; the primary one of its key.

        Raises:
            VeilfaceError: As `rotate`; InvalidArgumentError WRONG_KEY_VERSION for another version;
                UnavailableError GALLERY_MOVING if the gallery is on its way to one.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            move = await self._storage.run(self._stores.compactions.begin, name, version)
            comparer = await self._comparers.get(str(version))
            segments = await self._storage.run(self._stores.compactions.segments, move)
            total = sum(len(segment.slots) for segment in segments)
            moved_count = 0
            for segment in segments:
                yield RotationProgress(moved_count, total, is_switched=True)
                await self._move_segment(move, comparer, segment)
                place = await run_patiently(self._storage, self._stores.compactions.switch, move, segment.number)
                await self._library.forget_segments([place])
                if comparer.supports_search:
                    self._packer.mark(place)
                moved_count += len(segment.slots)
            await run_patiently(self._storage, self._stores.compactions.end, move)
            yield RotationProgress(moved_count, total, is_switched=True)

    async def _catch_up(self, move: Move, comparer: TemplateComparer, last: int) -> AsyncGenerator[int]:
        """Move what is not moved, up to the enrollment `last`; answers after each batch how many enrollments it was."""
        for segment in await self._storage.run(self._stores.moves.unmoved_segments, move):
            await self._move_segment(move, comparer, segment)
            yield len(segment.slots)
        after = 0
        while True:
            stored = await run_patiently(
                self._storage, self._stores.moves.unmoved_templates, move, after, last, _TEMPLATES_PER_BATCH
            )
            if not stored:
                return
            after = stored[-1].enrollment
            moved = await self._reencryption.move_templates(move.source, move.target, [each.signed for each in stored])
            checked = [
                await run_patiently(self._compute, self._checked, move, comparer, before, answer)
                for before, answer in zip(stored, moved, strict=True)
            ]
            await run_patiently(self._storage, self._stores.moves.add_templates, move, checked)
            yield len(checked)

    def _checked(
        self, move: Move, comparer: TemplateComparer, before: StoredTemplate, answer: SignedTemplate | VeilfaceError
    ) -> MovedTemplate:
        name = move.gallery.name.enrollment(before.enrollment)
        if isinstance(answer, VeilfaceError):
            raise FailedPreconditionError(
                answer.reason,
                f"the key service does not move the template of {name} ({answer.message}); erase it, or restore it "
                "from a backup, and go on",
            )
        old = verify_template(self._trust, before.signed, (EMBEDDING_IDENTITY, KEYS_IDENTITY))
        statement = verify_template(self._trust, answer, (KEYS_IDENTITY,))
        expected = replace(
            old,
            key_version=str(move.target),
            ciphertext_sha256=statement.ciphertext_sha256,
            create_time=statement.create_time,
        )
        if statement != expected:
            raise UnavailableError(
                Reason.DEPENDENCY_UNAVAILABLE, f"the key service answered another template than that of {name}"
            )
        comparer.check_template(answer.ciphertext, statement.space, statement.use)
        return MovedTemplate(before.enrollment, statement.ciphertext_sha256, answer)

    async def _move_segment(self, move: Move, comparer: TemplateComparer, segment: ImportedSegment) -> None:
        blobs = self._stores.blobs
        if blobs is None:
            raise FailedPreconditionError(
                Reason.INVALID_SETTING, "VEILFACE_BLOB_FOLDER is not set: without it imported segments cannot be moved"
            )
        uid, space = move.gallery.uid, move.gallery.space
        mapping = await run_patiently(self._storage, blobs.open, uid, segment.blob)
        serialized = await run_patiently(self._storage, bytes, mapping.view)
        moved = await self._reencryption.move_segment(move.source, move.target, space, segment.slots, serialized)
        mapping.release()
        await run_patiently(self._compute, comparer.segment_from_bytes, moved, space)
        with await run_patiently(self._storage, blobs.begin, uid) as blob:
            await run_patiently(self._storage, blob.write, moved)
            reference = BlobReference(blob.sha256, blob.written_bytes)
            await run_patiently(self._storage, blob.keep)
        await run_patiently(self._storage, self._stores.moves.add_segment, move, segment, reference)

    async def _switch(self, move: Move, comparer: TemplateComparer) -> None:
        """Switch the gallery, unless something is not moved yet."""
        places = await run_patiently(self._storage, self._stores.switches.switch, move)
        if places is None:
            return
        self._log.info(
            "gallery_switched", gallery=str(move.gallery.name), source=str(move.source), target=str(move.target)
        )
        await self._library.forget_segments(places)
        if comparer.supports_search:
            for place in places:
                self._packer.mark(place)

    async def _remove_old(self, move: Move) -> None:
        while await run_patiently(self._storage, self._stores.moves.remove_others, move, _REMOVED_PER_BATCH):
            pass
        await run_patiently(self._storage, self._stores.database.forget_erased_pages)
