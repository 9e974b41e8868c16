"""What a gallery consists of, as the rules see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from veilface.common.attested import SignedTemplate, TemplateStatement
from veilface.common.attested_segments import SegmentStatement
from veilface.common.names import EnrollmentName, GalleryName, SubjectName
from veilface.crypto.contract import Metric, Scheme, TemplateSpace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gallery:
    """A gallery at one generation.

    Attributes:
        uid: The record store's number for it; never reused, so that a new gallery of the same name is another one.
        model: The recognition pipeline; empty until the first enrollment binds it.
        dimension: The number of dimensions; 0 until the first enrollment binds it.
        generation: Grows with every change.
        template_bytes: The bytes of the ciphertexts in its template rows and of its blobs.
    """

    uid: int
    name: GalleryName
    key_version: str
    scheme: Scheme
    profile: str
    model: str
    dimension: int
    metric: Metric
    generation: int
    enrollment_count: int
    subject_count: int
    template_bytes: int
    create_time: datetime

    @property
    def space(self) -> TemplateSpace:
        """The space of its templates. Raises InvalidArgumentError WRONG_DIMENSION before the first enrollment."""
        return TemplateSpace(self.dimension, self.metric)


@dataclass(frozen=True, slots=True)
class GalleryDraft:
    """A gallery to create."""

    name: GalleryName
    key_version: str
    scheme: Scheme
    profile: str
    model: str
    dimension: int
    metric: Metric


@dataclass(frozen=True, slots=True)
class Enrollment:
    """One template of one subject, without the template.

    Attributes:
        template_bytes: The size of the ciphertext in its row, in bytes; 0 if it is in a blob only.
    """

    name: EnrollmentName
    subject: SubjectName
    labels: Mapping[str, str]
    key_version: str
    template_bytes: int
    create_time: datetime


@dataclass(frozen=True, slots=True)
class EnrollmentDraft:
    """A template to enroll. Its signature and its ciphertext are checked already.

    Attributes:
        request_id: Makes a retry safe.
        statement: What the signed template says.
    """

    subject: SubjectName
    labels: Mapping[str, str]
    request_id: str
    statement: TemplateStatement
    template: SignedTemplate


@dataclass(frozen=True, slots=True)
class Subject:
    """A person in a gallery."""

    name: SubjectName
    enrollment_count: int


@dataclass(frozen=True, slots=True)
class SegmentPlace:
    """Which segment of which gallery: a key for caches that is never reused."""

    gallery_uid: int
    number: int


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """The stored reference template of an occupied slot.

    Attributes:
        template_sha256: The SHA-256 of `ciphertext`, 32 bytes.
    """

    place: SegmentPlace
    slot: int
    enrollment: int
    template_sha256: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class ImportedSlot:
    """An occupied slot whose template is in a blob only."""

    place: SegmentPlace
    slot: int
    enrollment: int


@dataclass(frozen=True, slots=True)
class ErasedTemplate:
    """What an erased slot held.

    Attributes:
        ciphertext: To take it out of packed copies; None if it is not known any more.
    """

    place: SegmentPlace
    slot: int
    enrollment: int
    ciphertext: bytes | None


@dataclass(frozen=True, slots=True)
class BlobReference:
    """The blob that a segment was imported as.

    Attributes:
        sha256: The digest of its bytes, 32 bytes; it names the blob.
    """

    sha256: bytes
    total_bytes: int


@dataclass(frozen=True, slots=True)
class SegmentDraft:
    """A segment to import. Its signature and its bytes are checked already, and its blob is stored.

    Attributes:
        request_id: Makes a retry safe.
        statement: What the operator vouches for.
        subject_ids: The subject of each slot.
        capacity: How many slots there are.
    """

    request_id: str
    statement: SegmentStatement
    subject_ids: tuple[str, ...]
    capacity: int

    @property
    def blob(self) -> BlobReference:
        """The blob."""
        return BlobReference(self.statement.segment_sha256, self.statement.segment_bytes)


@dataclass(frozen=True, slots=True)
class SegmentImport:
    """A segment that was imported; some of its enrollments may have been erased since.

    Attributes:
        first_enrollment: The number of the enrollment in its first slot; those of the others follow.
    """

    request_id: str
    first_enrollment: int
    enrollment_count: int
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and where the next ones start; `next_key` is None on the last page."""

    items: tuple[T, ...]
    next_key: str | None
