"""Streams of templates to re-encrypt."""

import numpy as np

from veilface.common.conversion import space_from_proto
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import KeyVersionName
from veilface.keys.domain.reencryption import SegmentContent
from veilface.keys.v1 import reencryption_pb2

_LARGEST_SLOT = 2**24


def versions_from_proto(message: reencryption_pb2.ReencryptTemplatesRequest) -> tuple[KeyVersionName, KeyVersionName]:
    """Source and target, from the first message of a stream.

    Raises:
        InvalidArgumentError: STREAM_PROTOCOL if it is not a message with options only; INVALID_NAME.
    """
    if not message.HasField("options") or message.WhichOneof("item") is not None:
        raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "the first message has options and nothing else")
    return KeyVersionName.parse(message.options.source), KeyVersionName.parse(message.options.target)


def content_from_proto(message: reencryption_pb2.SegmentDescription) -> SegmentContent:
    """What a segment holds.

    Raises:
        InvalidArgumentError: WRONG_DIMENSION, MISSING_FIELD or INVALID_FIELD.
    """
    slots = np.array(message.slots, dtype=np.intp)
    if slots.size == 0:
        raise InvalidArgumentError(Reason.MISSING_FIELD, "slots is empty: a segment without templates needs no move")
    if int(slots.max()) > _LARGEST_SLOT or bool((np.diff(slots) <= 0).any()):
        raise InvalidArgumentError(Reason.INVALID_FIELD, "slots are ascending and below the size of the segment")
    return SegmentContent(space_from_proto(message.dimension, message.metric), slots)
