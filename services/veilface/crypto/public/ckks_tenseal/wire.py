"""The serialized form of templates and scores: a header of 32 bytes and residues of fixed width.

TenSEAL's own serialization is compressed and of any length; this one has one length per profile and kind, so that
everything is checked before SEAL reads a byte. The residues of a limb take as many whole bytes as its prime.
"""

import hashlib
import struct
from enum import IntEnum
from typing import Final

import numpy as np

from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.ckks_tenseal.ciphertexts import POLYNOMIALS, U64
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile

_MAGIC: Final = b"VFT1"
_HEADER: Final = struct.Struct("<4sBBHII8s8x")
HEADER_BYTES: Final = _HEADER.size
_METRICS: Final = {Metric.COSINE: 1, Metric.SQUARED_EUCLIDEAN: 2}
_WORD_BYTES: Final = 8


class Kind(IntEnum):
    """What a serialized object is."""

    PROBE = 1
    REFERENCE = 2
    SCORE = 3


def kind_of(use: TemplateUse) -> Kind:
    """The kind of a template. Raises InvalidArgumentError UNSUPPORTED_BY_SCHEME for a plaintext probe."""
    if use is TemplateUse.PLAINTEXT_PROBE:
        raise InvalidArgumentError(
            Reason.UNSUPPORTED_BY_SCHEME, "ckks-tenseal compares encrypted probes only: ask for an encrypted probe"
        )
    return Kind.PROBE if use is TemplateUse.PROBE else Kind.REFERENCE


def write(profile: CkksTensealProfile, kind: Kind, space: TemplateSpace, residues: U64) -> bytes:
    """A ciphertext from residues (2, limbs, n)."""
    limbs = []
    for polynomial in range(POLYNOMIALS):
        for limb, width in enumerate(_widths(profile, kind)):
            words = np.ascontiguousarray(residues[polynomial, limb], dtype="<u8").view(np.uint8)
            limbs.append(words.reshape(profile.degree, _WORD_BYTES)[:, :width].tobytes())
    payload = b"".join(limbs)
    header = _HEADER.pack(
        _MAGIC, kind, _METRICS[space.metric], 0, space.dimension, len(payload), parameters_id(profile)
    )
    return header + payload


def read(profile: CkksTensealProfile, kind: Kind, space: TemplateSpace, data: bytes | memoryview) -> U64:
    """The residues of a ciphertext, shape (2, limbs, n).

    Raises:
        InvalidCiphertextError: WRONG_SIZE, MALFORMED_CIPHERTEXT, WRONG_PARAMETERS, WRONG_USE, WRONG_METRIC or
            WRONG_DIMENSION.
    """
    payload = _payload(profile, kind, space, memoryview(data))
    primes = _primes(profile, kind)
    residues = np.zeros((POLYNOMIALS, len(primes), profile.degree, _WORD_BYTES), dtype=np.uint8)
    at = 0
    for polynomial in range(POLYNOMIALS):
        for limb, width in enumerate(_widths(profile, kind)):
            part = np.frombuffer(payload[at : at + width * profile.degree], dtype=np.uint8)
            residues[polynomial, limb, :, :width] = part.reshape(profile.degree, width)
            at += width * profile.degree
    words = residues.view("<u8")[..., 0]
    if (words >= np.array(primes, dtype=np.uint64)[:, None]).any():
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "a residue is not below its prime")
    if not words[1].any():
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "the ciphertext is transparent: it hides nothing")
    return words


def parameters_id(profile: CkksTensealProfile) -> bytes:
    """Eight bytes that name the ring: equal exactly when degree, primes and scale are."""
    numbers = (profile.degree, *profile.primes, profile.log_scale)
    return hashlib.sha256(("ckks-tenseal " + " ".join(map(str, numbers))).encode()).digest()[:8]


def _payload(profile: CkksTensealProfile, kind: Kind, space: TemplateSpace, view: memoryview) -> memoryview:
    size = POLYNOMIALS * profile.degree * sum(_widths(profile, kind))
    if len(view) < HEADER_BYTES:
        raise InvalidCiphertextError(Reason.WRONG_SIZE, f"expected at least {HEADER_BYTES} bytes, got {len(view)}")
    magic, found, metric, zero, dimension, length, parameters = _HEADER.unpack_from(view)
    if magic != _MAGIC or zero or bytes(view[HEADER_BYTES - 8 : HEADER_BYTES]) != bytes(8):
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "not a ckks-tenseal object")
    if parameters != parameters_id(profile):
        raise InvalidCiphertextError(
            Reason.WRONG_PARAMETERS, f"made with other parameters than those of profile {profile.name}"
        )
    if found != kind:
        known = {int(each): each.name.lower() for each in Kind}
        raise InvalidCiphertextError(
            Reason.WRONG_USE, f"expected a {known[kind]}, got a {known.get(found, 'unknown object')}"
        )
    if metric != _METRICS[space.metric]:
        raise InvalidCiphertextError(Reason.WRONG_METRIC, f"expected the metric {space.metric.value}")
    if dimension != space.dimension:
        raise InvalidCiphertextError(Reason.WRONG_DIMENSION, f"expected {space.dimension} dimensions, got {dimension}")
    if length != size or len(view) != HEADER_BYTES + size:
        raise InvalidCiphertextError(Reason.WRONG_SIZE, f"expected {HEADER_BYTES + size} bytes, got {len(view)}")
    return view[HEADER_BYTES:]


def _primes(profile: CkksTensealProfile, kind: Kind) -> tuple[int, ...]:
    return profile.score_primes if kind is Kind.SCORE else profile.template_primes


def _widths(profile: CkksTensealProfile, kind: Kind) -> list[int]:
    return [-(-prime.bit_length() // 8) for prime in _primes(profile, kind)]
