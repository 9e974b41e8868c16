"""Enrolling and erasing."""

from collections.abc import Mapping
from dataclasses import dataclass

from veilface.common.attested import SignedTemplate
from veilface.common.database import Database
from veilface.common.names import EnrollmentName, GalleryName, SubjectName
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateUse
from veilface.matching.domain.admission import check_gallery
from veilface.matching.domain.comparers import Comparers, segment_capacity
from veilface.matching.domain.paging import PageTokens, page_size
from veilface.matching.domain.records import Enrollment, EnrollmentDraft, ErasedTemplate, Subject
from veilface.matching.domain.segments.library import SegmentLibrary
from veilface.matching.domain.segments.packer import SegmentPacker
from veilface.matching.domain.store.enrollments import EnrollmentRecords
from veilface.matching.domain.store.galleries import GalleryRecords
from veilface.matching.domain.store.subjects import SubjectRecords
from veilface.matching.domain.templates import TemplateDesk


@dataclass(frozen=True, slots=True)
class NewEnrollment:
    """What a caller asks for."""

    subject: SubjectName
    labels: Mapping[str, str]
    request_id: str
    template: SignedTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentStores:
    """The parts of the record store that enrollments touch."""

    database: Database
    galleries: GalleryRecords
    enrollments: EnrollmentRecords
    subjects: SubjectRecords


class Enrollments:
    """Makes, describes, lists and erases enrollments and subjects."""

    def __init__(
        self,
        *,
        stores: EnrollmentStores,
        desk: TemplateDesk,
        comparers: Comparers,
        library: SegmentLibrary,
        packer: SegmentPacker,
        tokens: PageTokens,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._stores = stores
        self._desk = desk
        self._comparers = comparers
        self._library = library
        self._packer = packer
        self._tokens = tokens
        self._compute = compute
        self._storage = storage

    async def enroll(self, wanted: NewEnrollment) -> Enrollment:
        """Enroll a reference template; it is durable when this returns. The same request answers the same enrollment.

        Raises:
            PermissionDeniedError, InvalidArgumentError: The template is not vouched for or not well-formed.
            FailedPreconditionError: It does not fit the gallery; see `check_gallery`.
            NotFoundError: GALLERY_NOT_FOUND, or ENROLLMENT_NOT_FOUND if this request's enrollment was erased since.
            AlreadyExistsError: REQUEST_ID_REUSED, or TEMPLATE_ENROLLED if another request enrolled this very template.
            ResourceExhaustedError: SUBJECT_FULL.
            UnavailableError: GALLERY_MOVING in the last moment of a move to another key version.
        """
        template = await self._desk.verify(wanted.template, TemplateUse.REFERENCE)
        statement = template.statement
        gallery = await self._storage.run(self._stores.galleries.get, wanted.subject.gallery_name)
        draft = EnrollmentDraft(wanted.subject, wanted.labels, wanted.request_id, statement, wanted.template)
        if statement.key_version != gallery.key_version:
            # A late retry of what was enrolled before the gallery moved to another version.
            made = await self._storage.run(self._stores.enrollments.find, draft)
            if made is not None:
                return made
        check_gallery(statement, gallery)
        comparer = await self._comparers.get(statement.key_version)
        await self._desk.inspect(template, comparer)
        capacity = await self._compute.run(segment_capacity, comparer, statement.space)
        enrollment, place = await self._storage.run(self._stores.enrollments.enroll, draft, capacity)
        if comparer.supports_search:
            self._packer.mark(place)
        return enrollment

    async def get(self, name: EnrollmentName) -> Enrollment:
        """Describe one. Raises NotFoundError GALLERY_NOT_FOUND or ENROLLMENT_NOT_FOUND."""
        return await self._storage.run(self._stores.enrollments.get, name)

    async def page(
        self, gallery: GalleryName, subject: SubjectName | None, size: int, token: str
    ) -> tuple[tuple[Enrollment, ...], str]:
        """A page of everybody's or one subject's enrollments, in the order in which they were made; and the next token.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            InvalidArgumentError: INVALID_PAGE_TOKEN or INVALID_FIELD.
        """
        query = ("enrollments", str(gallery), str(subject or ""))
        after = self._tokens.decode(query, token)
        page = await self._storage.run(self._stores.enrollments.page, gallery, subject, after, page_size(size))
        return page.items, self._tokens.encode(query, page.next_key)

    async def page_subjects(self, gallery: GalleryName, size: int, token: str) -> tuple[tuple[Subject, ...], str]:
        """A page of subjects in order of their names, and the token of the next page; errors as for `page`."""
        query = ("subjects", str(gallery))
        after = self._tokens.decode(query, token)
        page = await self._storage.run(self._stores.subjects.page, gallery, after, page_size(size))
        return page.items, self._tokens.encode(query, page.next_key)

    async def erase(self, name: EnrollmentName) -> None:
        """Erase one. Raises NotFoundError GALLERY_NOT_FOUND or ENROLLMENT_NOT_FOUND."""
        await self._forget(await self._storage.run(self._stores.enrollments.erase, name))

    async def erase_subject(self, name: SubjectName) -> int:
        """Erase all of a subject's; answers how many. Raises NotFoundError GALLERY_NOT_FOUND or SUBJECT_NOT_FOUND."""
        erased = await self._storage.run(self._stores.enrollments.erase_subject, name)
        await self._forget(erased)
        return len(erased)

    async def _forget(self, erased: list[ErasedTemplate]) -> None:
        await self._library.forget_erased(erased)
        await self._storage.run(self._stores.database.forget_erased_pages)
