"""Between the messages of PeerService and the domain: pairs of functions, and nothing else."""

from itertools import pairwise

from google.protobuf.duration_pb2 import Duration

from veilface.common.attested import (
    LARGEST_BATCH_COUNT,
    LARGEST_GALLERY_UID,
    LARGEST_GENERATION,
    LARGEST_SEGMENT,
    NONCE_BYTES,
    scores_from_proto,
    scores_to_proto,
    template_from_proto,
    template_to_proto,
)
from veilface.common.conversion import check_length
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.statements import DIGEST_BYTES, check_range
from veilface.matching.conversion import gallery_name_from_proto, statistics_to_proto
from veilface.matching.domain.fanout.peers import PeerAnswer, PeerQuestion, SegmentRevision
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.segments.cache import Origin
from veilface.matching.v1 import matching_service_pb2, peer_service_pb2


def question_to_proto(question: PeerQuestion) -> peer_service_pb2.SearchSegmentsRequest:
    """Convert a SearchSegmentsRequest."""
    return peer_service_pb2.SearchSegmentsRequest(
        gallery=str(question.gallery),
        probe=template_to_proto(question.probe),
        segments=[
            peer_service_pb2.SegmentRevision(
                segment=segment.number, batch_index=segment.batch_index, content_sha256=segment.content_sha256
            )
            for segment in question.segments
        ],
        gallery_uid=question.gallery_uid,
        generation=question.generation,
        batch_count=question.batch_count,
        nonce=question.nonce,
    )


def question_from_proto(message: peer_service_pb2.SearchSegmentsRequest) -> PeerQuestion:
    """Convert a SearchSegmentsRequest.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_NAME or INVALID_FIELD.
    """
    gallery = gallery_name_from_proto("gallery", message.gallery)
    if not message.HasField("probe"):
        raise InvalidArgumentError(Reason.MISSING_FIELD, "probe is missing")
    if not message.segments:
        raise InvalidArgumentError(Reason.MISSING_FIELD, "segments is empty: name at least one")
    check_range("gallery_uid", message.gallery_uid, 1, LARGEST_GALLERY_UID)
    check_range("generation", message.generation, 0, LARGEST_GENERATION)
    check_range("batch_count", message.batch_count, 1, LARGEST_BATCH_COUNT)
    check_length("nonce", message.nonce, NONCE_BYTES)
    segments = tuple(_segment_from_proto(segment, message.batch_count) for segment in message.segments)
    indexes = [segment.batch_index for segment in segments]
    if any(later <= earlier for earlier, later in pairwise(indexes)):
        raise InvalidArgumentError(Reason.INVALID_FIELD, "segments is not in ascending order of batch_index")
    return PeerQuestion(
        gallery=gallery,
        probe=template_from_proto(message.probe),
        segments=segments,
        gallery_uid=message.gallery_uid,
        generation=message.generation,
        batch_count=message.batch_count,
        nonce=message.nonce,
    )


def answer_to_proto(answer: PeerAnswer) -> peer_service_pb2.SearchSegmentsResponse:
    """Convert a SearchSegmentsResponse."""
    response = peer_service_pb2.SearchSegmentsResponse(changed_segments=answer.changed)
    if answer.batch is not None:
        response.score_batch.CopyFrom(scores_to_proto(answer.batch))
    if answer.statistics is not None:
        response.statistics.CopyFrom(statistics_to_proto(answer.statistics))
    return response


def answer_from_proto(message: peer_service_pb2.SearchSegmentsResponse) -> PeerAnswer:
    """Convert a SearchSegmentsResponse. Raises InvalidArgumentError MISSING_FIELD or INVALID_FIELD."""
    return PeerAnswer(
        batch=scores_from_proto(message.score_batch) if message.HasField("score_batch") else None,
        changed=tuple(message.changed_segments),
        statistics=_statistics_from_proto(message.statistics) if message.HasField("statistics") else None,
    )


def _segment_from_proto(message: peer_service_pb2.SegmentRevision, batch_count: int) -> SegmentRevision:
    check_range("segment", message.segment, 0, LARGEST_SEGMENT)
    check_range("batch_index", message.batch_index, 0, batch_count - 1)
    check_length("content_sha256", message.content_sha256, DIGEST_BYTES)
    return SegmentRevision(message.segment, message.batch_index, message.content_sha256)


def _statistics_from_proto(message: matching_service_pb2.SearchStatistics) -> SearchStatistics:
    statistics = SearchStatistics(score_time_s=_seconds(message.score_time), gallery_bytes=message.gallery_bytes)
    statistics.origins.update(
        {
            Origin.MEMORY: message.segments_from_memory,
            Origin.DISK: message.segments_from_disk,
            Origin.REDIS: message.segments_from_cache,
            Origin.ROWS: message.segments_rebuilt,
        }
    )
    return statistics


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
