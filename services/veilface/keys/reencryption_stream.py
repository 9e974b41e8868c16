"""The stream of ReencryptTemplates, item by item: a segment comes in many pieces."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from veilface.common.attested import SignedTemplate, template_from_proto
from veilface.common.chunks import ChunkAssembler
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.keys.conversion.reencryption import content_from_proto
from veilface.keys.domain.reencryption import Reencryption, SegmentContent
from veilface.keys.v1 import reencryption_pb2 as pb


@dataclass(frozen=True, slots=True, eq=False)
class WholeSegment:
    """A segment whose last piece has arrived."""

    content: SegmentContent
    serialized: bytes


class _Assembly:
    """A segment whose pieces are arriving."""

    def __init__(self, first: pb.SegmentPiece, limit_bytes: int) -> None:
        if not first.HasField("description"):
            raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "the first piece of a segment has its description")
        self._content = content_from_proto(first.description)
        self._chunks = ChunkAssembler("a segment", limit_bytes)
        self._total_bytes = first.chunk.total_bytes
        self._received_bytes = 0

    def add(self, piece: pb.SegmentPiece) -> WholeSegment | None:
        if self._received_bytes and piece.HasField("description"):
            raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "only the first piece of a segment has a description")
        self._chunks.add(piece.chunk)
        self._received_bytes += len(piece.chunk.data)
        if self._received_bytes < self._total_bytes:
            return None
        return WholeSegment(self._content, self._chunks.finish())


async def whole_items(
    requests: AsyncIterator[pb.ReencryptTemplatesRequest], reencryption: Reencryption, largest_segment_bytes: int
) -> AsyncIterator[SignedTemplate | WholeSegment]:
    """Put the pieces together; the message with the options was taken off before.

    Raises:
        InvalidArgumentError: STREAM_PROTOCOL, or as the conversions.
        PermissionDeniedError: IDENTITY_DENIED for a segment of a caller that may not send any.
    """
    assembly: _Assembly | None = None
    async for request in requests:
        kind = request.WhichOneof("item")
        if request.HasField("options") or kind is None:
            raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "every message after the first has an item, no options")
        if kind == "template":
            if assembly is not None:
                raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "a template came in the middle of a segment")
            yield template_from_proto(request.template)
            continue
        if assembly is None:
            reencryption.require_segments_allowed()
            assembly = _Assembly(request.segment, largest_segment_bytes)
        whole = assembly.add(request.segment)
        if whole is not None:
            assembly = None
            yield whole
    if assembly is not None:
        raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "the stream ended in the middle of a segment")
