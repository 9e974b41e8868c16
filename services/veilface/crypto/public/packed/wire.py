"""How packed objects look as bytes: a 32-byte header, then residues. Parsed strictly, by the numbers, without SEAL.

Everything about a valid object follows from the profile, so nothing in a header is believed: each field is compared
with the only value that it may have.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

import numpy as np

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import TemplateUse
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32

_MAGIC: Final = b"VFP"
_HEADER: Final = struct.Struct("<4sBBBBHHII8s4x")
HEADER_BYTES: Final = _HEADER.size


class Kind(IntEnum):
    """What a serialized object is."""

    PROBE = 1
    REFERENCE = 2
    SEGMENT = 3
    SEARCH_SCORES = 4
    VERIFY_SCORE = 5
    PUBLIC_KEY = 6
    EVALUATION_KEYS = 7
    SECRET_KEY = 8
    PLAINTEXT_PROBE = 9
    WEIGHED_SCORES = 10
    WEIGHED_VERIFY_SCORE = 11


# Format 1 of a segment had its residues in 32-bit words.
_FORMATS: Final = {Kind.SEGMENT: b"2"}
_FIRST_FORMAT: Final = b"1"


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the residues. `log_scale` is 0 and `coordinates` is 0 for keys."""

    kind: Kind
    polynomials: int
    limbs: int
    log_scale: int = 0
    coordinates: int = 0
    score_count: int = 0


@lru_cache(maxsize=32)
def parameters_id(profile: PackedProfile) -> bytes:
    """Eight bytes that name the ring: equal exactly when degree, primes and scales are."""
    scales = (profile.template_log_scale, profile.probe_log_scale, profile.segment_log_scale)
    numbers = (profile.degree, *profile.primes, *scales)
    return hashlib.sha256(("ckks-packed " + " ".join(map(str, numbers))).encode()).digest()[:8]


def _magic(kind: Kind) -> bytes:
    """The first four bytes: an object of another format is not mistaken for one of this."""
    return _MAGIC + _FORMATS.get(kind, _FIRST_FORMAT)


def _check_format(kind: Kind, data: bytes | memoryview) -> None:
    magic = bytes(data[:4])
    if is_of_kind(data, kind) and magic[:3] == _MAGIC and magic != _magic(kind):
        raise InvalidCiphertextError(
            Reason.WRONG_FORMAT,
            f"a {kind.name.lower().replace('_', ' ')} that another version of veilface wrote: this one reads format "
            f"{_magic(kind)[3:].decode()} only; make it again, by importing or enrolling its templates",
        )


def write(profile: PackedProfile, header: Header, payload: bytes | memoryview) -> bytes:
    """Header and payload."""
    packed = _HEADER.pack(
        _magic(header.kind),
        header.kind,
        header.polynomials,
        header.limbs,
        profile.degree.bit_length() - 1,
        header.log_scale,
        header.coordinates,
        header.score_count,
        len(payload),
        parameters_id(profile),
    )
    return b"".join((packed, payload))


def read(profile: PackedProfile, expected: Header, payload_bytes: int, data: bytes | memoryview) -> memoryview:
    """The payload, after comparing every field of the header with the only value that it may have.

    Raises:
        InvalidCiphertextError: WRONG_FORMAT, WRONG_SIZE, MALFORMED_CIPHERTEXT, WRONG_PARAMETERS, WRONG_USE,
            WRONG_LEVEL, WRONG_SCALE or WRONG_DIMENSION.
    """
    _check_format(expected.kind, data)
    if len(data) != HEADER_BYTES + payload_bytes:
        raise InvalidCiphertextError(
            Reason.WRONG_SIZE, f"expected {HEADER_BYTES + payload_bytes} bytes, got {len(data)}"
        )
    view = memoryview(data)
    magic, kind, polynomials, limbs, log_degree, log_scale, count, scores, size, parameters = _HEADER.unpack_from(view)
    if magic[:3] != _MAGIC or size != payload_bytes or bytes(view[HEADER_BYTES - 4 : HEADER_BYTES]) != bytes(4):
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "not a ckks-packed object")
    if parameters != parameters_id(profile) or 1 << log_degree != profile.degree:
        raise InvalidCiphertextError(
            Reason.WRONG_PARAMETERS, f"made with other parameters than those of profile {profile.name}"
        )
    if kind != expected.kind:
        known = {int(each): each.name.lower().replace("_", " ") for each in Kind}
        raise InvalidCiphertextError(
            Reason.WRONG_USE, f"expected a {known[expected.kind]}, got a {known.get(kind, 'unknown object')}"
        )
    if (polynomials, limbs) != (expected.polynomials, expected.limbs):
        raise InvalidCiphertextError(
            Reason.WRONG_LEVEL,
            f"expected {expected.polynomials} polynomials of {expected.limbs} limbs, got {polynomials} of {limbs}",
        )
    if log_scale != expected.log_scale:
        raise InvalidCiphertextError(
            Reason.WRONG_SCALE, f"expected the scale 2^{expected.log_scale}, got 2^{log_scale}"
        )
    if count != expected.coordinates:
        raise InvalidCiphertextError(
            Reason.WRONG_DIMENSION, f"expected {expected.coordinates} coordinates, got {count}"
        )
    if scores != expected.score_count:
        raise InvalidCiphertextError(Reason.WRONG_SIZE, f"expected {expected.score_count} scores, got {scores}")
    return view[HEADER_BYTES:]


def is_of_kind(data: bytes | memoryview, kind: Kind) -> bool:
    """What an object says that it is; `read` is to follow."""
    return len(data) >= HEADER_BYTES and data[4] == kind


def check_residues(residues: U32, primes: tuple[int, ...]) -> None:
    """Refuse residues that are not reduced. residues: (..., limbs, n) for the first `limbs` of the primes."""
    for limb in range(residues.shape[-2]):
        if int(residues[..., limb, :].max()) >= primes[limb]:
            raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "a residue is not below its prime")


def template_header(profile: PackedProfile, coordinates: int, use: TemplateUse) -> Header:
    """The header of a template ciphertext."""
    kind = Kind.PROBE if use is TemplateUse.PROBE else Kind.REFERENCE
    return Header(kind, 2, profile.template_limbs, profile.template_log_scale, coordinates)


def write_template(profile: PackedProfile, coordinates: int, use: TemplateUse, residues: U32) -> bytes:
    """A template ciphertext from residues of shape (2, limbs, n) in the NTT domain."""
    payload = np.ascontiguousarray(residues, dtype="<u4").tobytes()
    return write(profile, template_header(profile, coordinates, use), payload)


def read_template(profile: PackedProfile, coordinates: int, use: TemplateUse, data: bytes) -> U32:
    """The residues of a template ciphertext, shape (2, limbs, n) in the NTT domain. Raises InvalidCiphertextError."""
    shape = (2, profile.template_limbs, profile.degree)
    payload = read(profile, template_header(profile, coordinates, use), 4 * shape[0] * shape[1] * shape[2], data)
    residues = np.frombuffer(payload, dtype="<u4").reshape(shape)
    check_residues(residues, profile.data_primes)
    return residues
