"""The serialized form of templates, segments and scores: a header of 32 bytes and a payload of fixed length.

Ciphertexts are little-endian integers of fixed width. Parsing compares every field of the header with the only value
that it may have, and accepts only units modulo the ciphertext modulus.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, TemplateSpace
from veilface.crypto.public.phe.public_key import PhePublicKey
from veilface.crypto.public.phe.quantization import coordinate_count, largest_squared_norm

_MAGIC: Final = b"VFH1"
_HEADER: Final = struct.Struct("<4sBBHIII8s4x")
HEADER_BYTES: Final = _HEADER.size
_METRICS: Final = {Metric.COSINE: 1, Metric.SQUARED_EUCLIDEAN: 2}


class Kind(IntEnum):
    """What a serialized object is."""

    PROBE = 1
    REFERENCE = 2
    SEGMENT = 3
    SEARCH_SCORES = 4
    VERIFY_SCORE = 5


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the payload, besides its length and the key's id."""

    kind: Kind
    space: TemplateSpace
    score_count: int = 0


def write(key: PhePublicKey, header: Header, payload: bytes) -> bytes:
    """Header and payload."""
    space = header.space
    packed = _HEADER.pack(
        _MAGIC, header.kind, _METRICS[space.metric], 0, space.dimension, header.score_count, len(payload), key.key_id
    )
    return packed + payload


def read(key: PhePublicKey, expected: Header, payload_bytes: int, data: bytes | memoryview) -> memoryview:
    """The payload.

    Raises:
        InvalidCiphertextError: WRONG_SIZE, MALFORMED_CIPHERTEXT, WRONG_KEY_VERSION, WRONG_USE, WRONG_METRIC or
            WRONG_DIMENSION.
    """
    view = memoryview(data)
    if len(view) < HEADER_BYTES:
        raise InvalidCiphertextError(Reason.WRONG_SIZE, f"expected at least {HEADER_BYTES} bytes, got {len(view)}")
    magic, kind, metric, zero, dimension, scores, size, key_id = _HEADER.unpack_from(view)
    if magic != _MAGIC or zero or bytes(view[HEADER_BYTES - 4 : HEADER_BYTES]) != bytes(4):
        raise InvalidCiphertextError(
            Reason.MALFORMED_CIPHERTEXT, f"not an object of the scheme {key.profile.scheme.value}"
        )
    if key_id != key.key_id:
        raise InvalidCiphertextError(Reason.WRONG_KEY_VERSION, "encrypted under another key")
    if kind != expected.kind:
        known = {int(each): each.name.lower().replace("_", " ") for each in Kind}
        raise InvalidCiphertextError(
            Reason.WRONG_USE, f"expected a {known[expected.kind]}, got a {known.get(kind, 'unknown object')}"
        )
    if metric != _METRICS[expected.space.metric]:
        raise InvalidCiphertextError(Reason.WRONG_METRIC, f"expected the metric {expected.space.metric.value}")
    if dimension != expected.space.dimension:
        raise InvalidCiphertextError(
            Reason.WRONG_DIMENSION, f"expected {expected.space.dimension} dimensions, got {dimension}"
        )
    if scores != expected.score_count:
        raise InvalidCiphertextError(Reason.WRONG_SIZE, f"expected {expected.score_count} scores, got {scores}")
    if size != payload_bytes or len(view) != HEADER_BYTES + payload_bytes:
        raise InvalidCiphertextError(
            Reason.WRONG_SIZE, f"expected {HEADER_BYTES + payload_bytes} bytes, got {len(view)}"
        )
    return view[HEADER_BYTES:]


def peek_kind(data: bytes | memoryview) -> int:
    """The kind that the header claims, 0 if there is none. `read` checks it."""
    return int(data[4]) if len(data) >= HEADER_BYTES else 0


def write_integers(key: PhePublicKey, integers: list[mpz]) -> bytes:
    """Ciphertexts one after another."""
    width = key.profile.ciphertext_bytes
    return b"".join(int(value).to_bytes(width, "little") for value in integers)


def read_integers(key: PhePublicKey, payload: memoryview) -> list[mpz]:
    """Ciphertexts of a payload of the right length.

    Raises:
        InvalidCiphertextError: MALFORMED_CIPHERTEXT if one is not a unit modulo the ciphertext modulus.
    """
    width = key.profile.ciphertext_bytes
    integers = [mpz(int.from_bytes(payload[at : at + width], "little")) for at in range(0, len(payload), width)]
    product = mpz(1)
    for value in integers:
        if not 0 < value < key.modulus:
            raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "a ciphertext is not below its modulus")
        product = product * (value % key.n) % key.n
    if gmpy2.gcd(product, key.n) != 1:
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "a ciphertext is not a unit")
    return integers


def write_probe(key: PhePublicKey, space: TemplateSpace, integers: NDArray[np.int64]) -> bytes:
    """A plaintext probe."""
    return write(key, Header(Kind.PROBE, space), integers.astype("<i2").tobytes())


def read_probe(key: PhePublicKey, space: TemplateSpace, data: bytes) -> NDArray[np.int64]:
    """The integers of a plaintext probe, shape (dimension,).

    Raises:
        InvalidCiphertextError: as `read`; MALFORMED_CIPHERTEXT if its norm is larger than that of any embedding, which
            would let scores overflow their slots.
    """
    payload = read(key, Header(Kind.PROBE, space), 2 * space.dimension, data)
    integers = np.frombuffer(payload, dtype="<i2").astype(np.int64)
    if int(integers @ integers) > largest_squared_norm(space.dimension):
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "the probe is longer than an embedding can be")
    return integers


def write_reference(key: PhePublicKey, space: TemplateSpace, ciphertexts: list[mpz]) -> bytes:
    """An encrypted reference."""
    return write(key, Header(Kind.REFERENCE, space), write_integers(key, ciphertexts))


def read_reference(key: PhePublicKey, space: TemplateSpace, data: bytes) -> list[mpz]:
    """The ciphertexts of a reference, one per coordinate. Raises InvalidCiphertextError."""
    size = coordinate_count(space) * key.profile.ciphertext_bytes
    return read_integers(key, read(key, Header(Kind.REFERENCE, space), size, data))


def write_positions(capacity: int, slots: NDArray[np.intp]) -> bytes:
    """A set of slots as one bit per slot."""
    present = np.zeros(capacity, dtype=np.uint8)
    present[slots] = 1
    return np.packbits(present, bitorder="little").tobytes()


def read_positions(capacity: int, data: memoryview) -> NDArray[np.intp]:
    """The slots, ascending. Raises InvalidCiphertextError(MALFORMED_CIPHERTEXT) for bits behind the capacity."""
    present = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    if present[capacity:].any():
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "a slot is outside of the segment")
    return np.flatnonzero(present)


def write_segment(
    key: PhePublicKey, space: TemplateSpace, capacity: int, occupied: NDArray[np.intp], ciphertexts: list[mpz]
) -> bytes:
    """A segment: the occupied slots, then one ciphertext per coordinate."""
    payload = write_positions(capacity, occupied) + write_integers(key, ciphertexts)
    return write(key, Header(Kind.SEGMENT, space), payload)


def read_segment(
    key: PhePublicKey, space: TemplateSpace, capacity: int, data: bytes | memoryview
) -> tuple[NDArray[np.intp], list[mpz]]:
    """The occupied slots, ascending, and the ciphertexts. Raises InvalidCiphertextError."""
    start = position_bytes(capacity)
    size = start + coordinate_count(space) * key.profile.ciphertext_bytes
    payload = read(key, Header(Kind.SEGMENT, space), size, data)
    return read_positions(capacity, payload[:start]), read_integers(key, payload[start:])


def position_bytes(capacity: int) -> int:
    """The length of a serialized set of slots."""
    return -(-capacity // 8)
