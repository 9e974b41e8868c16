"""1:1: a probe against a template, an enrollment, or everything enrolled of a subject."""

from collections.abc import Sequence

from veilface.common.attested import Circuit, SignedScores, SignedTemplate
from veilface.common.errors import FailedPreconditionError, Reason
from veilface.common.names import EnrollmentName, SubjectName
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateComparer, TemplateUse
from veilface.matching.domain.admission import check_gallery, check_pair
from veilface.matching.domain.comparers import Comparers
from veilface.matching.domain.imported import ImportedComparisons
from veilface.matching.domain.limits import MAX_ENROLLMENTS_PER_SUBJECT
from veilface.matching.domain.store.templates import References, TemplateRecords
from veilface.matching.domain.templates import TemplateDesk, VouchedTemplate
from veilface.matching.domain.tickets import Answer, TicketIssuer, imported_reference_sha256


class Comparisons:
    """Compares a probe with one person."""

    def __init__(
        self,
        *,
        desk: TemplateDesk,
        templates: TemplateRecords,
        imported: ImportedComparisons,
        comparers: Comparers,
        tickets: TicketIssuer,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._desk = desk
        self._templates = templates
        self._imported = imported
        self._comparers = comparers
        self._tickets = tickets
        self._compute = compute
        self._storage = storage

    async def compare(
        self, probe: SignedTemplate, target: SignedTemplate | EnrollmentName | SubjectName
    ) -> list[SignedScores]:
        """One batch of one score for each reference.

        Raises:
            PermissionDeniedError, InvalidArgumentError: A template is not vouched for or not well-formed.
            FailedPreconditionError: The two sides cannot be compared; see `check_pair` and `check_gallery`. Or
                SUBJECT_FULL if the subject has more enrollments than one answer may hold.
            NotFoundError: GALLERY_NOT_FOUND, ENROLLMENT_NOT_FOUND or SUBJECT_NOT_FOUND.
            UnavailableError: GALLERY_CHANGED if an imported enrollment was erased or moved meanwhile.
        """
        vouched = await self._desk.verify(probe, TemplateUse.PROBE)
        if isinstance(target, SignedTemplate):
            return await self._compare_directly(vouched, target)
        if isinstance(target, EnrollmentName):
            references = await self._storage.run(self._templates.of_enrollment, target)
        else:
            references = await self._storage.run(self._templates.of_subject, target)
        return await self._compare_stored(vouched, references)

    async def _compare_directly(self, probe: VouchedTemplate, target: SignedTemplate) -> list[SignedScores]:
        reference = await self._desk.verify(target, TemplateUse.REFERENCE)
        check_pair(probe.statement, reference.statement)
        comparer = await self._comparers.get(probe.statement.key_version)
        await self._desk.inspect(probe, comparer)
        await self._desk.inspect(reference, comparer)
        answer = Answer.to(
            Circuit.VERIFY,
            probe.statement,
            gallery=None,
            batch_count=1,
        )
        digests = [reference.statement.ciphertext_sha256]
        return await self._compute.run(self._score, comparer, [reference.ciphertext], digests, probe, answer)

    async def _compare_stored(self, probe: VouchedTemplate, references: References) -> list[SignedScores]:
        check_gallery(probe.statement, references.gallery)
        if references.count > MAX_ENROLLMENTS_PER_SUBJECT:
            raise FailedPreconditionError(
                Reason.SUBJECT_FULL,
                f"{references.subject} has {references.count} enrollments; at most {MAX_ENROLLMENTS_PER_SUBJECT} "
                "can be compared with in one answer: compare with one of them, or search the gallery",
            )
        comparer = await self._comparers.get(probe.statement.key_version)
        await self._desk.inspect(probe, comparer)
        answer = Answer.to(
            Circuit.VERIFY,
            probe.statement,
            gallery=references.gallery,
            subject=str(references.subject),
            batch_count=references.count,
        )
        stored = [row.ciphertext for row in references.rows]
        digests = [row.template_sha256 for row in references.rows]
        batches = await self._compute.run(self._score, comparer, stored, digests, probe, answer)
        imported = await self._imported.score(comparer, probe, references.imported)
        return batches + [
            self._tickets.sign_comparison(answer, index, ciphertext, imported_reference_sha256(slot))
            for index, (slot, ciphertext) in enumerate(zip(references.imported, imported, strict=True), len(batches))
        ]

    def _score(
        self,
        comparer: TemplateComparer,
        references: Sequence[bytes],
        digests: Sequence[bytes],
        probe: VouchedTemplate,
        answer: Answer,
    ) -> list[SignedScores]:
        space = probe.statement.space
        return [
            self._tickets.sign_comparison(
                answer, index, comparer.compare(reference, probe.ciphertext, space), reference_sha256
            )
            for index, (reference, reference_sha256) in enumerate(zip(references, digests, strict=True))
        ]
