import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilface.common.chunks import LARGEST_CHUNK_BYTES, ChunkAssembler, split_into_chunks
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.types.v1.chunk_pb2 import Chunk

LIMIT_BYTES = 8 * LARGEST_CHUNK_BYTES


def assemble(chunks, limit_bytes=LIMIT_BYTES):
    assembler = ChunkAssembler("a key", limit_bytes)
    for chunk in chunks:
        assembler.add(chunk)
    return assembler.finish()


def reason_of(chunks, limit_bytes=LIMIT_BYTES):
    with pytest.raises(InvalidArgumentError) as caught:
        assemble(chunks, limit_bytes)
    return caught.value.reason


def first(data=b"abc", total_bytes=3, of=b"abc"):
    return Chunk(data=data, total_bytes=total_bytes, sha256=hashlib.sha256(of).digest())


@settings(max_examples=20)
@given(size=st.sampled_from([0, 1, LARGEST_CHUNK_BYTES - 1, LARGEST_CHUNK_BYTES, LARGEST_CHUNK_BYTES + 1, 3 << 20]))
def test_what_was_split_is_put_together_again(size):
    data = bytes(i & 0xFF for i in range(251)) * (size // 251 + 1)
    chunks = list(split_into_chunks(data[:size]))
    assert all(len(chunk.data) <= LARGEST_CHUNK_BYTES for chunk in chunks)
    assert assemble(chunks) == data[:size]


def test_more_than_the_limit_is_refused_at_the_first_chunk():
    assert assemble([first()], limit_bytes=3) == b"abc"
    assembler = ChunkAssembler("a key", 2)
    with pytest.raises(InvalidArgumentError) as caught:
        assembler.add(first())
    assert caught.value.reason is Reason.WRONG_SIZE


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([], Reason.STREAM_PROTOCOL),
        ([Chunk(data=b"abc", total_bytes=3)], Reason.STREAM_PROTOCOL),
        ([first(b"ab")], Reason.STREAM_PROTOCOL),
        ([first(b"abcd")], Reason.STREAM_PROTOCOL),
        ([first(b"ab"), Chunk(data=b"cd")], Reason.STREAM_PROTOCOL),
        ([first(b"ab"), Chunk(data=b"c", total_bytes=3)], Reason.STREAM_PROTOCOL),
        ([first(b"abd")], Reason.DIGEST_MISMATCH),
    ],
)
def test_a_stream_that_breaks_the_rules_is_refused(chunks, reason):
    assert reason_of(chunks) is reason


def test_an_oversized_chunk_is_refused():
    data = bytes(LARGEST_CHUNK_BYTES + 1)
    assert reason_of([first(data, len(data), data)]) is Reason.STREAM_PROTOCOL
