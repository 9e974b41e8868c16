"""The shared cache in Redis.

A segment is a sealed listing under a key of its place, pieces of at most 8 MiB under keys of their digests, and an
index of those digests to delete them by. A listing is replaced in one step, so readers see the old segment or the new
one. All keys stand alone: it does not matter which node of a cluster holds which.
"""

import hashlib
import time
from collections.abc import Callable, Collection
from typing import Final, TypeVar

import structlog
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from veilface.common.errors import DataLossError
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.cache import CachedSegment, CacheEvents, Origin
from veilface.matching.domain.segments.content import SegmentContent
from veilface.matching.domain.segments.listing import open_listing, seal_listing
from veilface.matching.domain.segments.packed import PackingTerms
from veilface.matching.domain.store.identity import StoreIdentity

PIECE_BYTES: Final = 8 << 20

T = TypeVar("T")


class RedisSegmentCache:
    """Segments in Redis. After a failed command Redis is left alone for a while, so that it costs no search its time.

    Args:
        client: With short timeouts and few retries; answers bytes.
        identity: Of the record store: it names the keys, and entries of others are refused.
        ttl_s: How long an unused entry is kept.
        events: Told about failures.
        pause_s: How long Redis is left alone after a failure.
        clock: Monotonic seconds.
    """

    origin = Origin.REDIS

    def __init__(
        self,
        client: Redis,
        identity: StoreIdentity,
        *,
        ttl_s: int,
        events: CacheEvents,
        pause_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._prefix = f"veilface:{identity.store_id}"
        self._key = identity.derive("segment cache")
        self._ttl_s = ttl_s
        self._events = events
        self._pause_s = pause_s
        self._clock = clock
        self._paused_until = -float("inf")
        self._log = structlog.get_logger()

    def ping(self) -> bool:
        """Whether Redis answers."""
        return self._attempt(lambda: bool(self._client.ping()), fallback=False)

    def has(self, place: SegmentPlace) -> bool:
        """See `SegmentCache.has`."""

        def is_whole() -> bool:
            pieces = [self._piece_key(place, digest) for digest in self._indexed(place)]
            # One by one: in a cluster they may be on several nodes.
            return bool(pieces) and all(self._client.exists(key) for key in (self._listing_key(place), *pieces))

        return self._attempt(is_whole, fallback=True)

    def find(self, place: SegmentPlace, terms: PackingTerms) -> CachedSegment | None:
        """See `SegmentCache.find`."""
        sealed = self._get(self._listing_key(place))
        if sealed is None:
            return None
        try:
            return open_listing(self._key, place, terms, sealed)
        except DataLossError:
            self._refuse(place)
            return None

    def load(self, cached: CachedSegment) -> memoryview | None:
        """See `SegmentCache.load`."""
        serialized = memoryview(bytearray(cached.total_bytes))
        filled_bytes = 0
        for digest in cached.piece_sha256:
            piece = self._get(self._piece_key(cached.place, digest))
            if piece is None:
                # A listing of what is not there would never be replaced.
                self._attempt(lambda: self._remove(cached.place), fallback=False)
                return None
            is_intact = filled_bytes + len(piece) <= cached.total_bytes and hashlib.sha256(piece).digest() == digest
            if not is_intact:
                self._refuse(cached.place)
                return None
            serialized[filled_bytes : filled_bytes + len(piece)] = piece
            filled_bytes += len(piece)
        return serialized.toreadonly() if filled_bytes == cached.total_bytes else None

    def store(self, place: SegmentPlace, terms: PackingTerms, content: SegmentContent, serialized: bytes) -> bool:
        """See `SegmentCache.store`."""
        view = memoryview(serialized)
        pieces = [view[start : start + PIECE_BYTES] for start in range(0, len(view), PIECE_BYTES)]
        digests = [hashlib.sha256(piece).digest() for piece in pieces]
        sealed = seal_listing(self._key, place, terms, content, digests, len(serialized))
        index_key = self._index_key(place)

        def write() -> bool:
            for digest, piece in zip(digests, pieces, strict=True):
                self._client.sadd(index_key, digest)
                self._client.set(self._piece_key(place, digest), bytes(piece), ex=self._ttl_s)
            self._client.expire(index_key, self._ttl_s)
            self._client.set(self._listing_key(place), sealed, ex=self._ttl_s)
            self._delete_pieces(place, self._indexed(place) - set(digests))
            return True

        return self._attempt(write, fallback=False)

    def drop(self, place: SegmentPlace) -> bool:
        """See `SegmentCache.drop`."""

        return self._attempt(lambda: self._remove(place), fallback=False, even_if_paused=True)

    def own_places(self) -> list[SegmentPlace]:
        """See `SegmentCache.own_places`."""
        return []

    def _remove(self, place: SegmentPlace) -> bool:
        self._client.delete(self._listing_key(place))
        self._delete_pieces(place, self._indexed(place))
        return True

    def _refuse(self, place: SegmentPlace) -> None:
        self._events.cache_entry_refused()
        self._log.warning("cache_entry_refused", gallery_uid=place.gallery_uid, segment=place.number)
        self.drop(place)

    def _get(self, key: str) -> bytes | None:
        def read() -> bytes | None:
            value = self._client.getex(key, ex=self._ttl_s)
            return value if isinstance(value, bytes) else None

        return self._attempt(read, fallback=None)

    def _indexed(self, place: SegmentPlace) -> set[bytes]:
        members = self._client.smembers(self._index_key(place))
        return {member for member in members if isinstance(member, bytes)}

    def _delete_pieces(self, place: SegmentPlace, digests: Collection[bytes]) -> None:
        for digest in digests:
            self._client.delete(self._piece_key(place, digest))
            self._client.srem(self._index_key(place), digest)

    def _attempt(self, command: Callable[[], T], *, fallback: T, even_if_paused: bool = False) -> T:
        if self._clock() < self._paused_until and not even_if_paused:
            return fallback
        try:
            answer = command()
        except (RedisConnectionError, RedisTimeoutError) as error:
            self._paused_until = self._clock() + self._pause_s
            self._events.cache_reachable(False)
            self._log.warning("cache_unreachable", error=type(error).__name__)
            return fallback
        except RedisError as error:
            # Out of memory, no permission: Redis is there, but does not do this.
            self._log.warning("cache_command_failed", error=type(error).__name__)
            return fallback
        self._events.cache_reachable(True)
        return answer

    def _place_key(self, place: SegmentPlace) -> str:
        return f"{self._prefix}:{place.gallery_uid}:{place.number}"

    def _listing_key(self, place: SegmentPlace) -> str:
        return f"{self._place_key(place)}:listing"

    def _index_key(self, place: SegmentPlace) -> str:
        return f"{self._place_key(place)}:pieces"

    def _piece_key(self, place: SegmentPlace, digest: bytes) -> str:
        return f"{self._place_key(place)}:piece:{digest.hex()}"
