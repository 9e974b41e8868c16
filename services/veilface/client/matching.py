"""Encrypted comparisons: calls to the matching service, whose scores only the key service can read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf.message import DecodeError

from veilface.client.calls import ServiceCalls, Trail
from veilface.client.directories import Directory, DirectoryCache, directories_of
from veilface.common.attested import SignedTemplate, template_to_proto
from veilface.common.errors import DataLossError, Reason
from veilface.matching.v1 import matching_service_pb2, matching_service_pb2_grpc
from veilface.types.v1 import score_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStatistics:
    """How a search went inside the matching service.

    Attributes:
        gallery_bytes: The encrypted templates that were read.
    """

    enrollment_count: int
    segment_count: int
    expand_time: timedelta
    score_time: timedelta
    gallery_bytes: int
    segments_from_memory: int
    segments_from_disk: int
    segments_from_cache: int
    segments_rebuilt: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Encrypted scores, and who is at which position of them.

    Attributes:
        score_batches: To be handed to the key service, all of them.
        directories: By the batch index that the key service will name.
    """

    score_batches: tuple[score_pb2.ScoreBatch, ...]
    directories: dict[int, Directory]
    statistics: SearchStatistics


class Matcher:
    """Calls to the matching service; keeps segment directories, so that they travel only when they change.

    Args:
        channel: To the matching service.
        calls: How calls to it are made.
    """

    def __init__(self, channel: grpc.Channel, calls: ServiceCalls) -> None:
        self._stub = matching_service_pb2_grpc.MatchingServiceStub(channel)
        self._calls = calls
        self._directories = DirectoryCache()

    def compare_template(
        self, reference: SignedTemplate, probe: SignedTemplate, trail: Trail
    ) -> Sequence[score_pb2.ScoreBatch]:
        """Compare a probe with a reference template. Raises a VeilfaceError if they do not fit together."""
        request = matching_service_pb2.CompareTemplatesRequest(
            probe=template_to_proto(probe), reference=template_to_proto(reference)
        )
        return self._compare(request, trail)

    def compare_subject(self, subject: str, probe: SignedTemplate, trail: Trail) -> Sequence[score_pb2.ScoreBatch]:
        """Compare a probe with every enrollment of a subject, given by its full name."""
        request = matching_service_pb2.CompareTemplatesRequest(probe=template_to_proto(probe), subject=subject)
        return self._compare(request, trail)

    def search(self, gallery: str, probe: SignedTemplate, trail: Trail) -> SearchResult:
        """Compare a probe with everyone in a gallery, given by its full name.

        Raises:
            NotFoundError: GALLERY_NOT_FOUND.
            DataLossError: DATA_LOSS if the answers do not fit together.
        """
        known = self._directories.of_gallery(gallery)
        request = matching_service_pb2.SearchGalleryRequest(
            gallery=gallery, probe=template_to_proto(probe), known_directory_etags=known
        )
        responses = self._calls.server_stream(self._stub.SearchGallery, "SearchGallery", request, trail)
        current = directories_of(responses, known)
        self._directories.replace(gallery, current)
        scored = [response for response in responses if response.HasField("score_batch")]
        return SearchResult(
            score_batches=tuple(response.score_batch for response in scored),
            directories={_batch_index(response.score_batch): current[response.directory_etag] for response in scored},
            statistics=_statistics(responses[-1].statistics if responses else None),
        )

    def _compare(
        self, request: matching_service_pb2.CompareTemplatesRequest, trail: Trail
    ) -> Sequence[score_pb2.ScoreBatch]:
        response = self._calls.unary(self._stub.CompareTemplates, "CompareTemplates", request, trail)
        return tuple(response.score_batches)


def _batch_index(batch: score_pb2.ScoreBatch) -> int:
    statement = score_pb2.ScoreStatement()
    try:
        statement.ParseFromString(batch.statement)
    except DecodeError as error:
        raise DataLossError(Reason.DATA_LOSS, "the matching service sent a ticket that is not one") from error
    return statement.batch_index


def _statistics(message: matching_service_pb2.SearchStatistics | None) -> SearchStatistics:
    message = message or matching_service_pb2.SearchStatistics()
    return SearchStatistics(
        enrollment_count=message.enrollment_count,
        segment_count=message.segment_count,
        expand_time=message.expand_time.ToTimedelta(),
        score_time=message.score_time.ToTimedelta(),
        gallery_bytes=message.gallery_bytes,
        segments_from_memory=message.segments_from_memory,
        segments_from_disk=message.segments_from_disk,
        segments_from_cache=message.segments_from_cache,
        segments_rebuilt=message.segments_rebuilt,
    )
