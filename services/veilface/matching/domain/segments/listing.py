"""The listing of a cached segment: its content and the digests of its pieces, under a key of the record store."""

import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import Final

from veilface.common.errors import DataLossError, Reason
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.cache import CachedSegment
from veilface.matching.domain.segments.content import DIGEST_BYTES, SegmentContent
from veilface.matching.domain.segments.packed import PackingTerms

_HEADER: Final = struct.Struct("<4sIQ")
_MAGIC: Final = b"VFL1"
_TAG_BYTES: Final = 32


def seal_listing(
    key: bytes,
    place: SegmentPlace,
    terms: PackingTerms,
    content: SegmentContent,
    piece_sha256: Sequence[bytes],
    total_bytes: int,
) -> bytes:
    """An HMAC-SHA256 tag, a header, the piece digests and the content. The tag also binds the place and the terms."""
    body = _HEADER.pack(_MAGIC, len(piece_sha256), total_bytes) + b"".join(piece_sha256) + content.to_bytes()
    return _tag(key, place, terms, body) + body


def open_listing(key: bytes, place: SegmentPlace, terms: PackingTerms, sealed: bytes) -> CachedSegment:
    """Check and parse a listing.

    Raises:
        DataLossError: If it was not sealed with this key for this place and these terms.
    """
    tag, body = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
    if len(body) < _HEADER.size or not hmac.compare_digest(tag, _tag(key, place, terms, body)):
        raise DataLossError(Reason.DATA_LOSS, "a cached listing does not carry this record store's tag")
    magic, piece_count, total_bytes = _HEADER.unpack_from(body)
    content_start = _HEADER.size + piece_count * DIGEST_BYTES
    if magic != _MAGIC or len(body) < content_start:
        raise DataLossError(Reason.DATA_LOSS, "a cached listing has another format")
    digests = tuple(body[start : start + DIGEST_BYTES] for start in range(_HEADER.size, content_start, DIGEST_BYTES))
    return CachedSegment(place, SegmentContent.from_bytes(body[content_start:]), digests, total_bytes)


def _tag(key: bytes, place: SegmentPlace, terms: PackingTerms, body: bytes) -> bytes:
    context = "\n".join(
        (
            str(place.gallery_uid),
            str(place.number),
            terms.key_version,
            str(terms.space.dimension),
            terms.space.metric.value,
        )
    ).encode()
    return hmac.digest(key, len(context).to_bytes(4, "big") + context + body, hashlib.sha256)
