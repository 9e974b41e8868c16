"""Between the messages of veilface.matching.v1 and the domain: pairs of functions, and nothing else."""

from collections.abc import Collection, Mapping

from google.protobuf.duration_pb2 import Duration

from veilface.common.attested import (
    SignedTemplate,
    scores_to_proto,
    template_from_proto,
)
from veilface.common.attested_segments import SignedSegmentStatement
from veilface.common.conversion import (
    metric_from_proto,
    metric_to_proto,
    scheme_to_proto,
    signature_from_proto,
    time_to_proto,
)
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import EnrollmentName, GalleryName, KeyVersionName, SubjectName, parse_key_or_version
from veilface.common.statements import LONGEST_MODEL
from veilface.crypto.contract import Metric, TemplateSpace
from veilface.matching.domain.enrollments import NewEnrollment
from veilface.matching.domain.galleries import NewGallery
from veilface.matching.domain.imports import ImportPiece, NewImport
from veilface.matching.domain.limits import (
    MAX_KNOWN_ETAGS,
    MAX_LABEL_KEY_LENGTH,
    MAX_LABEL_VALUE_LENGTH,
    MAX_LABELS,
    MAX_REQUEST_ID_LENGTH,
)
from veilface.matching.domain.records import Enrollment, Gallery, SegmentImport, Subject
from veilface.matching.domain.rotation import RotationProgress
from veilface.matching.domain.search.search import SearchPart
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.segments.cache import Origin
from veilface.matching.domain.segments.directory import Directory
from veilface.matching.v1 import gallery_service_pb2, matching_service_pb2, rotation_pb2


def new_gallery_from_proto(message: gallery_service_pb2.CreateGalleryRequest) -> NewGallery:
    """Convert a CreateGalleryRequest.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_NAME, INVALID_FIELD or WRONG_DIMENSION.
    """
    _require("gallery_id", message.gallery_id)
    _require("key", message.key)
    metric = metric_from_proto(message.metric, Metric.COSINE)
    if message.dimension:
        TemplateSpace(message.dimension, metric)
    if len(message.model) > LONGEST_MODEL or not message.model.isprintable():
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"model is not at most {LONGEST_MODEL} printable characters")
    return NewGallery(
        name=GalleryName(message.gallery_id),
        key=parse_key_or_version(message.key),
        model=message.model,
        dimension=message.dimension,
        metric=metric,
    )


def gallery_to_proto(gallery: Gallery) -> gallery_service_pb2.Gallery:
    """Convert a Gallery."""
    return gallery_service_pb2.Gallery(
        name=str(gallery.name),
        key_version=gallery.key_version,
        scheme=scheme_to_proto(gallery.scheme),
        profile=gallery.profile,
        model=gallery.model,
        dimension=gallery.dimension,
        metric=metric_to_proto(gallery.metric),
        enrollment_count=gallery.enrollment_count,
        subject_count=gallery.subject_count,
        generation=gallery.generation,
        create_time=time_to_proto(gallery.create_time),
        template_bytes=gallery.template_bytes,
    )


def new_enrollment_from_proto(message: gallery_service_pb2.EnrollRequest) -> NewEnrollment:
    """Convert an EnrollRequest.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_NAME or INVALID_FIELD.
    """
    _require("gallery", message.gallery)
    _require("subject_id", message.subject_id)
    gallery = GalleryName.parse(message.gallery)
    return NewEnrollment(
        subject=gallery.subject(message.subject_id),
        labels=_labels_from_proto(message.labels),
        request_id=_request_id_from_proto(message.request_id),
        template=_template("template", message),
    )


def new_import_from_proto(message: gallery_service_pb2.ImportSegmentRequest) -> NewImport:
    """Convert the first ImportSegmentRequest of a stream.

    Raises:
        InvalidArgumentError: STREAM_PROTOCOL, MISSING_FIELD, INVALID_NAME or INVALID_FIELD.
    """
    if not message.HasField("header") or message.data or message.subject_ids:
        raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "the first message has the header, and nothing else")
    header = message.header
    if not header.statement:
        raise InvalidArgumentError(Reason.MISSING_FIELD, "header.statement is missing")
    if not header.HasField("signature"):
        raise InvalidArgumentError(Reason.MISSING_FIELD, "header.signature is missing")
    return NewImport(
        gallery=gallery_name_from_proto("header.gallery", header.gallery),
        request_id=_request_id_from_proto(header.request_id),
        signed=SignedSegmentStatement(header.statement, signature_from_proto(header.signature)),
    )


def import_piece_from_proto(message: gallery_service_pb2.ImportSegmentRequest) -> ImportPiece:
    """Convert a later ImportSegmentRequest. Raises InvalidArgumentError STREAM_PROTOCOL."""
    if message.HasField("header"):
        raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "only the first message has a header")
    return ImportPiece(message.data, message.subject_ids)


def segment_import_to_proto(made: SegmentImport) -> gallery_service_pb2.SegmentImport:
    """Convert a SegmentImport."""
    return gallery_service_pb2.SegmentImport(
        request_id=made.request_id,
        first_enrollment=made.first_enrollment,
        enrollment_count=made.enrollment_count,
        create_time=time_to_proto(made.create_time),
    )


def enrollment_to_proto(enrollment: Enrollment) -> gallery_service_pb2.Enrollment:
    """Convert an Enrollment."""
    return gallery_service_pb2.Enrollment(
        name=str(enrollment.name),
        subject=str(enrollment.subject),
        labels=enrollment.labels,
        key_version=enrollment.key_version,
        template_bytes=enrollment.template_bytes,
        create_time=time_to_proto(enrollment.create_time),
    )


def rotation_from_proto(message: rotation_pb2.RotateGalleryRequest) -> tuple[GalleryName, KeyVersionName]:
    """The gallery and the version to move it to. Raises InvalidArgumentError MISSING_FIELD or INVALID_NAME."""
    _require("name", message.name)
    _require("key_version", message.key_version)
    return GalleryName.parse(message.name), KeyVersionName.parse(message.key_version)


def rotation_progress_to_proto(progress: RotationProgress) -> rotation_pb2.RotateGalleryResponse:
    """Convert the progress of a move."""
    return rotation_pb2.RotateGalleryResponse(
        moved_count=progress.moved_count, enrollment_count=progress.enrollment_count, switched=progress.is_switched
    )


def subject_to_proto(subject: Subject) -> gallery_service_pb2.Subject:
    """Convert a Subject."""
    return gallery_service_pb2.Subject(name=str(subject.name), enrollment_count=subject.enrollment_count)


def gallery_name_from_proto(field: str, name: str) -> GalleryName:
    """The gallery in a field. Raises InvalidArgumentError MISSING_FIELD or INVALID_NAME."""
    _require(field, name)
    return GalleryName.parse(name)


def enrollment_name_from_proto(field: str, name: str) -> EnrollmentName:
    """The enrollment in a field. Raises InvalidArgumentError MISSING_FIELD or INVALID_NAME."""
    _require(field, name)
    return EnrollmentName.parse(name)


def subject_name_from_proto(field: str, name: str) -> SubjectName:
    """The subject in a field. Raises InvalidArgumentError MISSING_FIELD or INVALID_NAME."""
    _require(field, name)
    return SubjectName.parse(name)


def enrollment_filter_from_proto(
    message: gallery_service_pb2.ListEnrollmentsRequest,
) -> tuple[GalleryName, SubjectName | None]:
    """The gallery to list, and the subject if only that one's are wanted.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_NAME, or INVALID_FIELD for a subject of another gallery.
    """
    gallery = gallery_name_from_proto("parent", message.parent)
    if not message.subject:
        return gallery, None
    subject = SubjectName.parse(message.subject)
    if subject.gallery_name != gallery:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"subject is {subject}, which is not in {gallery}")
    return gallery, subject


def comparison_from_proto(
    message: matching_service_pb2.CompareTemplatesRequest,
) -> tuple[SignedTemplate, SignedTemplate | EnrollmentName | SubjectName]:
    """The probe and what to compare it with.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_NAME or INVALID_FIELD.
    """
    probe = _template("probe", message)
    match message.WhichOneof("target"):
        case "reference":
            return probe, template_from_proto(message.reference)
        case "enrollment":
            return probe, enrollment_name_from_proto("enrollment", message.enrollment)
        case "subject":
            return probe, subject_name_from_proto("subject", message.subject)
        case _:
            raise InvalidArgumentError(Reason.MISSING_FIELD, "target is missing: set reference, enrollment or subject")


def search_from_proto(
    message: matching_service_pb2.SearchGalleryRequest,
) -> tuple[GalleryName, SignedTemplate, frozenset[str]]:
    """The gallery, the probe and the etags of the directories that the caller has.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_NAME or INVALID_FIELD.
    """
    gallery = gallery_name_from_proto("gallery", message.gallery)
    if len(message.known_directory_etags) > MAX_KNOWN_ETAGS:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD,
            f"known_directory_etags has {len(message.known_directory_etags)} entries; at most {MAX_KNOWN_ETAGS}",
        )
    return gallery, _template("probe", message), frozenset(message.known_directory_etags)


def search_part_to_proto(part: SearchPart, known_etags: Collection[str]) -> matching_service_pb2.SearchGalleryResponse:
    """Convert a part of a search's answer; a directory that the caller has is left out."""
    response = matching_service_pb2.SearchGalleryResponse()
    if part.segment is not None:
        directory = part.segment.directory
        response.score_batch.CopyFrom(scores_to_proto(part.segment.scores))
        response.directory_etag = directory.etag
        if directory.etag not in known_etags:
            response.directory.CopyFrom(directory_to_proto(directory))
    if part.statistics is not None:
        response.statistics.CopyFrom(statistics_to_proto(part.statistics))
    return response


def directory_to_proto(directory: Directory) -> matching_service_pb2.SegmentDirectory:
    """Convert a SegmentDirectory."""
    return matching_service_pb2.SegmentDirectory(
        runs=[
            matching_service_pb2.EnrollmentRun(first_enrollment=run.first_enrollment, count=run.count)
            for run in directory.runs
        ],
        subject_ids=directory.subject_ids,
    )


def statistics_to_proto(statistics: SearchStatistics) -> matching_service_pb2.SearchStatistics:
    """Convert SearchStatistics."""
    return matching_service_pb2.SearchStatistics(
        enrollment_count=statistics.enrollment_count,
        segment_count=statistics.segment_count,
        expand_time=_duration(statistics.expand_time_s),
        score_time=_duration(statistics.score_time_s),
        gallery_bytes=statistics.gallery_bytes,
        segments_from_memory=statistics.origins[Origin.MEMORY],
        segments_from_disk=statistics.origins[Origin.DISK],
        segments_from_cache=statistics.origins[Origin.REDIS],
        segments_rebuilt=statistics.origins[Origin.ROWS],
    )


def _labels_from_proto(labels: Mapping[str, str]) -> dict[str, str]:
    if len(labels) > MAX_LABELS:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"labels has {len(labels)} entries; at most {MAX_LABELS}")
    for key, value in labels.items():
        if not 1 <= len(key) <= MAX_LABEL_KEY_LENGTH or len(value) > MAX_LABEL_VALUE_LENGTH:
            raise InvalidArgumentError(
                Reason.INVALID_FIELD,
                f"a label has a key of 1 to {MAX_LABEL_KEY_LENGTH} and a value of at most {MAX_LABEL_VALUE_LENGTH} "
                "characters",
            )
        if "\0" in key or "\0" in value:
            raise InvalidArgumentError(Reason.INVALID_FIELD, "a label holds no NUL characters")
    return dict(labels)


def _request_id_from_proto(request_id: str) -> str:
    _require("request_id", request_id)
    if len(request_id) > MAX_REQUEST_ID_LENGTH or not (request_id.isascii() and request_id.isprintable()):
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"request_id is not 1 to {MAX_REQUEST_ID_LENGTH} printable ASCII characters"
        )
    return request_id


def _template(
    field: str,
    message: gallery_service_pb2.EnrollRequest
    | matching_service_pb2.CompareTemplatesRequest
    | matching_service_pb2.SearchGalleryRequest,
) -> SignedTemplate:
    if not message.HasField(field):  # type: ignore[arg-type]
        raise InvalidArgumentError(Reason.MISSING_FIELD, f"{field} is missing")
    return template_from_proto(getattr(message, field))


def _require(field: str, value: str) -> None:
    if not value:
        raise InvalidArgumentError(Reason.MISSING_FIELD, f"{field} is missing")


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
