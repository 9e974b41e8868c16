"""The bridge to SEAL (through `tenseal.sealapi`): contexts, and residues in and out of SEAL's objects.

SEAL objects are saved to and loaded from an anonymous memory file. The layout is SEAL 4's documented one: a 16-byte
header, then parms_id, flags, sizes, scale, correction factor and the residues as 64-bit words.
"""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

import numpy as np
import tenseal.sealapi as sealapi
import zstandard

from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32

_Loaded = TypeVar("_Loaded")
_MAGIC: Final = 0xA15E
_HEADER: Final = struct.Struct("<HBBBBHQ")
_CIPHERTEXT: Final = struct.Struct("<32sBQQQdQ")
_UNCOMPRESSED: Final = 0
_ZSTD: Final = 2
_MAX_BYTES: Final = 256 * 1024 * 1024

_LEVELS: Final = {
    128: sealapi.SEC_LEVEL_TYPE.TC128,
    192: sealapi.SEC_LEVEL_TYPE.TC192,
    256: sealapi.SEC_LEVEL_TYPE.TC256,
}


@dataclass(frozen=True, slots=True)
class SealContext:
    """A SEAL context with its profile and the parms_ids by number of limbs (the key level under `len(primes)`)."""

    profile: PackedProfile
    context: Any
    parms_ids: dict[int, tuple[int, ...]]


@lru_cache(maxsize=8)
def seal_context(profile: PackedProfile) -> SealContext:
    """The SEAL context of a profile, checked by SEAL at the profile's security level.

    Raises:
        InvalidArgumentError: INSECURE_PARAMETERS if SEAL refuses the parameters.
    """
    parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.CKKS)
    parameters.set_poly_modulus_degree(profile.degree)
    parameters.set_coeff_modulus([sealapi.Modulus(prime) for prime in profile.primes])
    context = sealapi.SEALContext(parameters, True, _LEVELS[profile.security_bits])
    if not context.parameters_set():
        raise InvalidArgumentError(
            Reason.INSECURE_PARAMETERS,
            f"SEAL refuses profile {profile.name} at {profile.security_bits} bits: "
            f"{context.parameters_error_message()}",
        )
    parms_ids = {len(profile.primes): tuple(context.key_parms_id())}
    level = context.first_context_data()
    for limbs in range(profile.template_limbs, 0, -1):
        parms_ids[limbs] = tuple(level.parms_id())
        level = level.next_context_data()
    return SealContext(profile, context, parms_ids)


@contextmanager
def _memory_file() -> Iterator[tuple[int, str]]:
    descriptor = os.memfd_create("veilface", os.MFD_CLOEXEC)
    try:
        yield descriptor, f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def save(seal_object: Any) -> bytes:
    """SEAL's own serialization of an object."""
    with _memory_file() as (descriptor, path):
        seal_object.save(path)
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def load(kind: Callable[[], _Loaded], context: SealContext, data: bytes) -> _Loaded:
    """An object from SEAL's serialization, checked by SEAL against the context.

    Raises:
        InvalidCiphertextError: MALFORMED_KEY if SEAL refuses it.
    """
    loaded = kind()
    with _memory_file() as (descriptor, path):
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(data)
        try:
            loaded.load(context.context, path)  # type: ignore[attr-defined]
        except (RuntimeError, ValueError) as error:
            raise InvalidCiphertextError(
                Reason.MALFORMED_KEY, f"SEAL refuses these bytes for profile {context.profile.name}"
            ) from error
    return loaded


def unwrap(data: bytes) -> bytes:
    """The body of a SEAL serialization without its header, decompressed."""
    magic, header_size, _, _, compression, _, total = _HEADER.unpack_from(data)
    if magic != _MAGIC or header_size != _HEADER.size or total != len(data):
        raise InvalidCiphertextError(Reason.MALFORMED_KEY, "not a SEAL serialization")
    body = data[_HEADER.size :]
    if compression == _UNCOMPRESSED:
        return body
    if compression != _ZSTD:
        raise InvalidCiphertextError(Reason.MALFORMED_KEY, f"unknown SEAL compression {compression}")
    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


def wrap(body: bytes) -> bytes:
    """A SEAL 4 serialization around an uncompressed body."""
    return _HEADER.pack(_MAGIC, _HEADER.size, 4, 3, _UNCOMPRESSED, 0, _HEADER.size + len(body)) + body


def read_ciphertext(body: bytes, offset: int = 0) -> tuple[U32, int]:
    """The residues of a ciphertext body, shape (polynomials, limbs, n), and the offset behind it."""
    _, _, size, degree, limbs, _, _ = _CIPHERTEXT.unpack_from(body, offset)
    offset += _CIPHERTEXT.size + _HEADER.size
    (count,) = struct.unpack_from("<Q", body, offset)
    offset += 8
    if count != size * limbs * degree:
        raise InvalidCiphertextError(Reason.MALFORMED_KEY, "a SEAL ciphertext of inconsistent size")
    residues = np.frombuffer(body, dtype="<u8", count=count, offset=offset)
    return residues.astype(np.uint32).reshape(size, limbs, degree), offset + 8 * count


def ciphertext_residues(ciphertext: Any) -> U32:
    """The residues of a SEAL ciphertext in the NTT domain, shape (polynomials, limbs, n)."""
    residues, _ = read_ciphertext(unwrap(save(ciphertext)))
    return residues


def ciphertext_from_residues(context: SealContext, residues: U32, scale: float) -> Any:
    """A SEAL ciphertext in the NTT domain from residues of shape (polynomials, limbs, n)."""
    size, limbs, degree = residues.shape
    parms_id = struct.pack("<4Q", *context.parms_ids[limbs])
    data = np.ascontiguousarray(residues, dtype="<u8").tobytes()
    body = _CIPHERTEXT.pack(parms_id, 1, size, degree, limbs, scale, 1) + wrap(struct.pack("<Q", residues.size) + data)
    return load(sealapi.Ciphertext, context, wrap(body))


def galois_key_residues(galois_keys: Any, elements: list[int], profile: PackedProfile) -> U32:
    """Key switching keys, shape (elements, digits, 2, primes, n), in the NTT domain."""
    body = unwrap(save(galois_keys))
    (slots,) = struct.unpack_from("<Q", body, 32)
    offset = 40
    wanted = {(element - 1) // 2: position for position, element in enumerate(elements)}
    result = np.zeros((len(elements), profile.template_limbs, 2, len(profile.primes), profile.degree), dtype=np.uint32)
    found = 0
    for slot in range(slots):
        (digits,) = struct.unpack_from("<Q", body, offset)
        offset += 8
        for digit in range(digits):
            residues, offset = read_ciphertext(body, offset + _HEADER.size)
            result[wanted[slot], digit] = residues
            found += 1
    if found != len(elements) * profile.template_limbs or len(body) > _MAX_BYTES:
        raise InvalidCiphertextError(Reason.MALFORMED_KEY, "Galois keys are missing")
    return result


def plaintext_residues(plaintext: Any, limbs: int, degree: int) -> U32:
    """The residues of a SEAL CKKS plaintext in the NTT domain, shape (limbs, n)."""
    body = unwrap(save(plaintext))
    residues = np.frombuffer(body, dtype="<u8", count=limbs * degree, offset=len(body) - 8 * limbs * degree)
    return residues.astype(np.uint32).reshape(limbs, degree)
