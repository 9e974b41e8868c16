"""Galleries, their subjects and their enrollments."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc

from veilface.client.calls import ServiceCalls, Trail, pages
from veilface.client.names import name_of_key, parse_gallery
from veilface.common.attested import SignedTemplate, template_to_proto
from veilface.common.conversion import metric_from_proto, metric_to_proto, scheme_from_proto
from veilface.common.names import EnrollmentName, SubjectName
from veilface.crypto.contract import Metric, Scheme
from veilface.matching.v1 import gallery_service_pb2, gallery_service_pb2_grpc, rotation_pb2

_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """A set of enrolled subjects.

    Attributes:
        name: "galleries/{gallery}".
        key_version: What everything in it is encrypted under.
        model: The recognition pipeline; empty until the first enrollment, unless given.
        dimension: 0 until the first enrollment, unless given.
        generation: Grows with every change.
        template_bytes: The encrypted templates that it stores.
    """

    name: str
    key_version: str
    scheme: Scheme
    profile: str
    model: str
    dimension: int
    metric: Metric
    enrollment_count: int
    subject_count: int
    generation: int
    create_time: datetime
    template_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrollment:
    """One template of one subject.

    Attributes:
        name: "galleries/{gallery}/enrollments/{enrollment}".
        subject: The subject's id.
        labels: Stored in the clear.
        template_bytes: The size of its ciphertext; 0 if it is kept only inside a packed segment.
    """

    name: str
    subject: str
    labels: Mapping[str, str]
    key_version: str
    template_bytes: int
    create_time: datetime


@dataclass(frozen=True, slots=True)
class RotationProgress:
    """How far the move of a gallery to another key version is.

    Attributes:
        moved_count: How many enrollments have a template under the new version.
        is_switched: Whether the gallery is under the new version already.
    """

    moved_count: int
    enrollment_count: int
    is_switched: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """A person in a gallery.

    Attributes:
        name: "galleries/{gallery}/subjects/{subject}".
        subject: The last part of the name.
        enrollment_count: At least 1.
    """

    name: str
    subject: str
    enrollment_count: int


class Galleries:
    """The galleries of the matching service.

    Args:
        channel: To the matching service.
        calls: How calls to it are made.
    """

    def __init__(self, channel: grpc.Channel, calls: ServiceCalls) -> None:
        self._stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        self._calls = calls

    def create(
        self,
        gallery: str,
        key: str = "default",
        *,
        model: str = "",
        dimension: int = 0,
        metric: Metric = Metric.COSINE,
    ) -> Gallery:
        """Create an empty gallery.

        Args:
            gallery: Its id or name.
            key: The key's id or name; its primary version is taken.
            model: The recognition pipeline; empty: taken from the first enrollment.
            dimension: 1 to 4096; 0: taken from the first enrollment.
            metric: What its scores measure.

        Raises:
            AlreadyExistsError: GALLERY_EXISTS.
            NotFoundError: KEY_NOT_FOUND.
        """
        request = gallery_service_pb2.CreateGalleryRequest(
            gallery_id=parse_gallery(gallery).gallery,
            key=name_of_key(key),
            model=model,
            dimension=dimension,
            metric=metric_to_proto(metric),
        )
        return gallery_from_proto(self._calls.unary(self._stub.CreateGallery, "CreateGallery", request, Trail()))

    def get(self, gallery: str, trail: Trail | None = None) -> Gallery:
        """Describe a gallery. Raises NotFoundError GALLERY_NOT_FOUND."""
        request = gallery_service_pb2.GetGalleryRequest(name=str(parse_gallery(gallery)))
        return gallery_from_proto(self._calls.unary(self._stub.GetGallery, "GetGallery", request, trail or Trail()))

    def list(self) -> list[Gallery]:
        """All galleries in order of their names."""

        def fetch(token: str) -> tuple[list[Gallery], str]:
            request = gallery_service_pb2.ListGalleriesRequest(page_size=_PAGE_SIZE, page_token=token)
            page = self._calls.unary(self._stub.ListGalleries, "ListGalleries", request, Trail())
            return [gallery_from_proto(each) for each in page.galleries], page.next_page_token

        return [*pages(fetch)]

    def rotate(self, gallery: str, key_version: str) -> Iterator[RotationProgress]:
        """Move a gallery to a newer version of its key, or go on with a move that was interrupted.

        Needs the operator's identity. Searches are answered all the time.

        Args:
            gallery: Its id or name.
            key_version: "keys/{key}/versions/{version}".

        Yields:
            How far it is, until it is done.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND or KEY_NOT_FOUND.
            InvalidArgumentError: WRONG_KEY_VERSION for anything but a newer version of the gallery's key.
            UnavailableError: If something does not answer; another call goes on where this one ended.
        """
        request = rotation_pb2.RotateGalleryRequest(name=str(parse_gallery(gallery)), key_version=key_version)
        for message in self._calls.open_stream(self._stub.RotateGallery, request):
            yield RotationProgress(message.moved_count, message.enrollment_count, message.switched)

    def compact(self, gallery: str) -> Iterator[RotationProgress]:
        """Leave out the deleted slots of a gallery's imported segments: those who were erased are gone for good.

        Needs the operator's identity. Searches are answered all the time.

        Yields:
            How far it is, until it is done.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            FailedPreconditionError: WRONG_KEY_VERSION if the key has a newer version: move the gallery there instead.
            UnavailableError: If something does not answer; another call goes on where this one ended.
        """
        found = self.get(gallery)
        request = rotation_pb2.RotateGalleryRequest(name=found.name, key_version=found.key_version, compact=True)
        for message in self._calls.open_stream(self._stub.RotateGallery, request):
            yield RotationProgress(message.moved_count, message.enrollment_count, message.switched)

    def delete(self, gallery: str) -> int:
        """Delete a gallery and answer how many enrollments went with it. Raises NotFoundError GALLERY_NOT_FOUND."""
        request = gallery_service_pb2.DeleteGalleryRequest(name=str(parse_gallery(gallery)))
        return self._calls.unary(self._stub.DeleteGallery, "DeleteGallery", request, Trail()).enrollment_count


class Enrollments:
    """The enrollments of galleries; arguments as for `Galleries`."""

    def __init__(self, channel: grpc.Channel, calls: ServiceCalls) -> None:
        self._stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        self._calls = calls

    def create(
        self,
        gallery: str,
        template: SignedTemplate,
        subject: str,
        *,
        request_id: str,
        labels: Mapping[str, str] | None = None,
        trail: Trail | None = None,
    ) -> Enrollment:
        """Enroll a reference template; answered after the durable commit.

        Args:
            gallery: The gallery's id or name.
            template: Made for use as a reference.
            subject: The subject's id.
            request_id: The same id answers the same enrollment, so a retry is safe.
            labels: Stored in the clear.
            trail: Where to note the step.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            InvalidArgumentError: WRONG_KEY_VERSION, WRONG_MODEL, WRONG_DIMENSION, WRONG_METRIC, WRONG_USE and others
                if the template does not fit the gallery.
            PermissionDeniedError: UNTRUSTED_SIGNER or BAD_SIGNATURE.
        """
        request = gallery_service_pb2.EnrollRequest(
            gallery=str(parse_gallery(gallery)),
            subject_id=subject,
            template=template_to_proto(template),
            labels=labels or {},
            request_id=request_id,
        )
        return enrollment_from_proto(self._calls.unary(self._stub.Enroll, "Enroll", request, trail or Trail()))

    def get(self, enrollment: str) -> Enrollment:
        """Describe an enrollment by its name. Raises NotFoundError ENROLLMENT_NOT_FOUND."""
        request = gallery_service_pb2.GetEnrollmentRequest(name=str(EnrollmentName.parse(enrollment)))
        return enrollment_from_proto(self._calls.unary(self._stub.GetEnrollment, "GetEnrollment", request, Trail()))

    def list(self, gallery: str, subject: str | None = None) -> list[Enrollment]:
        """The enrollments of a gallery, or of one subject id in it, in the order in which they were made."""
        name = parse_gallery(gallery)
        owner = str(name.subject(subject)) if subject is not None else ""

        def fetch(token: str) -> tuple[list[Enrollment], str]:
            request = gallery_service_pb2.ListEnrollmentsRequest(
                parent=str(name), page_size=_PAGE_SIZE, page_token=token, subject=owner
            )
            page = self._calls.unary(self._stub.ListEnrollments, "ListEnrollments", request, Trail())
            return [enrollment_from_proto(each) for each in page.enrollments], page.next_page_token

        return [*pages(fetch)]

    def delete(self, enrollment: str) -> None:
        """Erase an enrollment by its name. Raises NotFoundError ENROLLMENT_NOT_FOUND."""
        request = gallery_service_pb2.DeleteEnrollmentRequest(name=str(EnrollmentName.parse(enrollment)))
        self._calls.unary(self._stub.DeleteEnrollment, "DeleteEnrollment", request, Trail())


class Subjects:
    """The subjects of galleries; arguments as for `Galleries`."""

    def __init__(self, channel: grpc.Channel, calls: ServiceCalls) -> None:
        self._stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        self._calls = calls

    def list(self, gallery: str) -> list[Subject]:
        """The subjects of a gallery in order of their names."""
        name = str(parse_gallery(gallery))

        def fetch(token: str) -> tuple[list[Subject], str]:
            request = gallery_service_pb2.ListSubjectsRequest(parent=name, page_size=_PAGE_SIZE, page_token=token)
            page = self._calls.unary(self._stub.ListSubjects, "ListSubjects", request, Trail())
            return [_subject(each) for each in page.subjects], page.next_page_token

        return [*pages(fetch)]

    def delete(self, gallery: str, subject: str) -> int:
        """Erase a subject and answer how many enrollments it had. Raises NotFoundError SUBJECT_NOT_FOUND."""
        request = gallery_service_pb2.DeleteSubjectRequest(name=str(parse_gallery(gallery).subject(subject)))
        return self._calls.unary(self._stub.DeleteSubject, "DeleteSubject", request, Trail()).enrollment_count


def gallery_from_proto(message: gallery_service_pb2.Gallery) -> Gallery:
    """Convert a Gallery."""
    return Gallery(
        name=message.name,
        key_version=message.key_version,
        scheme=scheme_from_proto(message.scheme),
        profile=message.profile,
        model=message.model,
        dimension=message.dimension,
        metric=metric_from_proto(message.metric, unspecified=Metric.COSINE),
        enrollment_count=message.enrollment_count,
        subject_count=message.subject_count,
        generation=message.generation,
        create_time=message.create_time.ToDatetime(tzinfo=UTC),
        template_bytes=message.template_bytes,
    )


def enrollment_from_proto(message: gallery_service_pb2.Enrollment) -> Enrollment:
    """Convert an Enrollment."""
    return Enrollment(
        name=message.name,
        subject=SubjectName.parse(message.subject).subject,
        labels=dict(message.labels),
        key_version=message.key_version,
        template_bytes=message.template_bytes,
        create_time=message.create_time.ToDatetime(tzinfo=UTC),
    )


def _subject(message: gallery_service_pb2.Subject) -> Subject:
    return Subject(message.name, SubjectName.parse(message.name).subject, message.enrollment_count)
