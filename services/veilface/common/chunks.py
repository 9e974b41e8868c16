"""Large byte strings as streams of chunks."""

import hashlib
from collections.abc import Iterator

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.types.v1 import chunk_pb2

LARGEST_CHUNK_BYTES = 1 << 20


def split_into_chunks(data: bytes) -> Iterator[chunk_pb2.Chunk]:
    """Cut into chunks of at most 1 MiB, at least one; the first tells the size and the SHA-256 of the whole."""
    yield chunk_pb2.Chunk(data=data[:LARGEST_CHUNK_BYTES], total_bytes=len(data), sha256=hashlib.sha256(data).digest())
    for start in range(LARGEST_CHUNK_BYTES, len(data), LARGEST_CHUNK_BYTES):
        yield chunk_pb2.Chunk(data=data[start : start + LARGEST_CHUNK_BYTES])


class ChunkAssembler:
    """Puts chunks together again.

    Args:
        what: What is assembled, for messages.
        limit_bytes: The largest size accepted. More than that is never held.
    """

    def __init__(self, what: str, limit_bytes: int) -> None:
        self._what = what
        self._limit_bytes = limit_bytes
        self._total_bytes: int | None = None
        self._sha256 = b""
        self._data = bytearray()

    def add(self, chunk: chunk_pb2.Chunk) -> None:
        """Append the next chunk.

        Raises:
            InvalidArgumentError: WRONG_SIZE above the limit, STREAM_PROTOCOL for a chunk that does not fit.
        """
        if self._total_bytes is None:
            if chunk.total_bytes > self._limit_bytes:
                raise InvalidArgumentError(
                    Reason.WRONG_SIZE,
                    f"{self._what} of {chunk.total_bytes} bytes; at most {self._limit_bytes} are accepted",
                )
            if len(chunk.sha256) != 32:
                raise self._broken("the first chunk has no SHA-256")
            self._total_bytes = chunk.total_bytes
            self._sha256 = chunk.sha256
        elif chunk.total_bytes or chunk.sha256:
            raise self._broken("a later chunk announces a size or digest")
        if len(chunk.data) > LARGEST_CHUNK_BYTES:
            raise self._broken(f"a chunk has {len(chunk.data)} bytes, more than {LARGEST_CHUNK_BYTES}")
        if len(self._data) + len(chunk.data) > self._total_bytes:
            raise self._broken(f"more than the {self._total_bytes} bytes announced")
        self._data += chunk.data

    def finish(self) -> bytes:
        """The whole.

        Raises:
            InvalidArgumentError: STREAM_PROTOCOL if bytes are missing, DIGEST_MISMATCH if they are not the announced.
        """
        if self._total_bytes is None:
            raise self._broken("no chunk came")
        if len(self._data) != self._total_bytes:
            raise self._broken(f"{len(self._data)} of {self._total_bytes} bytes came")
        if hashlib.sha256(self._data).digest() != self._sha256:
            raise InvalidArgumentError(Reason.DIGEST_MISMATCH, f"{self._what} arrived damaged: its SHA-256 is another")
        return bytes(self._data)

    def _broken(self, problem: str) -> InvalidArgumentError:
        return InvalidArgumentError(Reason.STREAM_PROTOCOL, f"{self._what} is not streamed as agreed: {problem}")
