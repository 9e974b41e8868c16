"""Bulk import: whole segments that an operator encrypted under the public key."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import cast

from veilface.common.attested_segments import (
    SegmentStatement,
    SignedSegmentStatement,
    subject_ids_sha256,
    verify_segment,
)
from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    Reason,
)
from veilface.common.identities import OPERATOR_IDENTITY
from veilface.common.names import GalleryName, KeyVersionName
from veilface.common.pool import BoundedPool
from veilface.common.signing import TrustStore
from veilface.crypto.contract import TemplateComparer
from veilface.matching.domain.admission import check_gallery
from veilface.matching.domain.blobs.folder import BlobFolder, BlobWriter
from veilface.matching.domain.comparers import Comparers, segment_capacity
from veilface.matching.domain.limits import MAX_IMPORT_PIECE_BYTES
from veilface.matching.domain.paging import PageTokens, page_size
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.records import Gallery, SegmentDraft, SegmentImport
from veilface.matching.domain.store.galleries import GalleryRecords
from veilface.matching.domain.store.imports import ImportRecords


@dataclass(frozen=True, slots=True)
class NewImport:
    """What an operator asks for."""

    gallery: GalleryName
    request_id: str
    signed: SignedSegmentStatement


@dataclass(frozen=True, slots=True)
class ImportPiece:
    """The next bytes of a segment and the subjects of its next slots; either may be empty."""

    data: bytes
    subject_ids: Sequence[str]


class Imports:
    """Takes in segments, and lists what was taken in.

    Args:
        trust: Whose signatures count.
        blobs: Where segments are kept; None if this replica has no folder for them.
    """

    def __init__(
        self,
        *,
        trust: TrustStore,
        galleries: GalleryRecords,
        records: ImportRecords,
        comparers: Comparers,
        blobs: BlobFolder | None,
        tokens: PageTokens,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._trust = trust
        self._galleries = galleries
        self._records = records
        self._comparers = comparers
        self._blobs = blobs
        self._tokens = tokens
        self._compute = compute
        self._storage = storage
        self._one_at_a_time = asyncio.Lock()

    async def add(self, caller: str, wanted: NewImport, pieces: AsyncIterator[ImportPiece]) -> SegmentImport:
        """Import a segment: all its enrollments at once, or none. The same request answers the same import.

        Args:
            caller: Who calls; the operator that signed.
            wanted: What is imported. It is checked before the first piece is read.
            pieces: The segment.

        Raises:
            PermissionDeniedError: UNTRUSTED_SIGNER, BAD_SIGNATURE, IDENTITY_DENIED if another identity signed, or
                POLICY_DENIED if the policy of the gallery's key does not let the caller import.
            FailedPreconditionError: The segment does not fit the gallery; see `check_gallery`. Or INVALID_SETTING if
                this replica has no folder for blobs.
            InvalidArgumentError: A malformed statement or segment; UNSUPPORTED_BY_SCHEME, WRONG_SIZE, STREAM_PROTOCOL
                or DIGEST_MISMATCH.
            NotFoundError: GALLERY_NOT_FOUND.
            AlreadyExistsError: REQUEST_ID_REUSED.
            ResourceExhaustedError: SUBJECT_FULL.
            UnavailableError: DEPENDENCY_UNAVAILABLE if the folder for blobs cannot be written.
        """
        gallery = await self._storage.run(self._galleries.get, wanted.gallery)
        statement = await self._vouched(caller, wanted, await self._signers(gallery))
        draft = SegmentDraft(wanted.request_id, statement, (), 0)
        made = await self._storage.run(self._records.find, wanted.gallery, wanted.request_id, draft.blob)
        if made is not None:
            return made
        check_gallery(statement, gallery)
        comparer = await self._comparers.get(statement.key_version)
        if not comparer.supports_search:
            raise InvalidArgumentError(
                Reason.UNSUPPORTED_BY_SCHEME, f"{statement.scheme} has no segments: enroll the templates one by one"
            )
        capacity = await self._compute.run(segment_capacity, comparer, statement.space)
        if statement.slot_count > capacity:
            raise InvalidArgumentError(
                Reason.WRONG_SIZE, f"{statement.slot_count} slots; a segment of this key has {capacity}"
            )
        if self._blobs is None:
            raise FailedPreconditionError(
                Reason.INVALID_SETTING, "VEILFACE_BLOB_FOLDER is not set: without it nothing can be imported"
            )
        with await self._storage.run(self._blobs.begin, gallery.uid) as blob:
            subject_ids = await self._receive(statement, blob, pieces)
            await self._inspect(comparer, statement, blob)
            await self._storage.run(blob.keep)
        draft = SegmentDraft(wanted.request_id, statement, tuple(subject_ids), capacity)
        return await self._storage.run(self._records.add, draft)

    async def page(self, gallery: GalleryName, size: int, token: str) -> tuple[tuple[SegmentImport, ...], str]:
        """A page of imports, oldest first, and the token of the next page.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            InvalidArgumentError: INVALID_PAGE_TOKEN or INVALID_FIELD.
        """
        query = ("imports", str(gallery))
        after = self._tokens.decode(query, token)
        page = await self._storage.run(self._records.page, gallery, after, page_size(size))
        return page.items, self._tokens.encode(query, page.next_key)

    async def _signers(self, gallery: Gallery) -> tuple[str, ...]:
        """Who may sign segments of a gallery. The policy is that of its key, so any version's material tells."""
        key = KeyVersionName.parse(gallery.key_version).key_name
        importers = (await self._comparers.describe_key(str(key))).importers
        return (OPERATOR_IDENTITY,) if importers is None else importers

    async def _vouched(self, caller: str, wanted: NewImport, signers: Collection[str]) -> SegmentStatement:
        if wanted.signed.signature.signer != caller:
            raise PermissionDeniedError(
                Reason.IDENTITY_DENIED, f"{caller} may import only what it signed itself, not what others did"
            )
        if caller not in signers:
            raise PermissionDeniedError(
                Reason.POLICY_DENIED,
                f"the policy of the gallery's key does not let {caller} import: grant it OPERATION_IMPORT",
            )
        statement = await self._compute.run(verify_segment, self._trust, wanted.signed, signers)
        if statement.gallery != wanted.gallery:
            raise InvalidArgumentError(
                Reason.INVALID_FIELD, f"the segment is signed for {statement.gallery}, not for {wanted.gallery}"
            )
        return statement

    async def _receive(
        self, statement: SegmentStatement, blob: BlobWriter, pieces: AsyncIterator[ImportPiece]
    ) -> list[str]:
        subject_ids: list[str] = []
        async for piece in pieces:
            if len(piece.data) > MAX_IMPORT_PIECE_BYTES:
                raise _broken(f"a piece has {len(piece.data)} bytes, more than {MAX_IMPORT_PIECE_BYTES}")
            if blob.written_bytes + len(piece.data) > statement.segment_bytes:
                raise _broken(f"more than the {statement.segment_bytes} bytes announced")
            if len(subject_ids) + len(piece.subject_ids) > statement.slot_count:
                raise _broken(f"more than {statement.slot_count} subject ids")
            subject_ids += piece.subject_ids
            if piece.data:
                await run_patiently(self._storage, blob.write, piece.data)
        if blob.written_bytes < statement.segment_bytes:
            raise _broken(f"{blob.written_bytes} of {statement.segment_bytes} bytes came")
        if len(subject_ids) < statement.slot_count:
            raise _broken(f"{len(subject_ids)} of {statement.slot_count} subject ids came")
        if blob.sha256 != statement.segment_sha256:
            raise InvalidArgumentError(Reason.DIGEST_MISMATCH, "the segment is not the one that the statement is about")
        await self._compute.run(_check_subjects, statement, subject_ids)
        return subject_ids

    async def _inspect(self, comparer: TemplateComparer, statement: SegmentStatement, blob: BlobWriter) -> None:
        # A segment is large, and all of it is read: never several at a time.
        async with self._one_at_a_time:
            mapping = await self._storage.run(blob.map)
            # The schemes with segments take a view as well, and do not copy it.
            view = cast(bytes, mapping.view)
            await run_patiently(self._compute, comparer.segment_from_bytes, view, statement.space)


def _check_subjects(statement: SegmentStatement, subject_ids: Sequence[str]) -> None:
    if subject_ids_sha256(subject_ids) != statement.subject_ids_sha256:
        raise InvalidArgumentError(Reason.DIGEST_MISMATCH, "the subject ids are not those that the statement is about")
    for subject_id in subject_ids:
        statement.gallery.subject(subject_id)


def _broken(problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.STREAM_PROTOCOL, f"the segment is not streamed as agreed: {problem}")
