"""Between TenSEAL's vectors and residues: SEAL 4's documented stream of one ciphertext.

A 16-byte header, then parms_id, flags, sizes, scale, correction factor and the residues as 64-bit words.
"""

import struct
from typing import Any, Final

import numpy as np
import tenseal as ts
import zstandard
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile
from veilface.crypto.public.ckks_tenseal.protobuf import read_vector, write_vector

U64 = NDArray[np.uint64]
POLYNOMIALS: Final = 2
_MAGIC: Final = 0xA15E
_HEADER: Final = struct.Struct("<HBBBBHQ")
_CIPHERTEXT: Final = struct.Struct("<32sBQQQdQ")
_COUNT: Final = struct.Struct("<Q")
_UNCOMPRESSED: Final = 0


def residues_of(vector: Any, profile: CkksTensealProfile, limbs: int) -> U64:
    """The residues of a vector that TenSEAL made in this process, shape (2, limbs, n) in the NTT domain.

    Raises:
        ValueError: if it has other sizes or another scale than the circuit must give.
    """
    stream = read_vector(vector.serialize())
    body = zstandard.ZstdDecompressor().decompressobj().decompress(stream[_HEADER.size :])
    _, is_ntt, size, degree, found_limbs, scale, _ = _CIPHERTEXT.unpack_from(body)
    shape = (POLYNOMIALS, limbs, profile.degree)
    if (size, found_limbs, degree) != shape or not is_ntt or scale != 2.0**profile.log_scale:
        raise ValueError(f"TenSEAL made a ciphertext of {size} x {found_limbs} x {degree} at scale {scale}")
    start = _CIPHERTEXT.size + _HEADER.size + _COUNT.size
    return np.frombuffer(body, dtype="<u8", offset=start).reshape(shape)


def vector_of(residues: U64, size: int, context: Any, profile: CkksTensealProfile) -> Any:
    """A TenSEAL vector of `size` slots from checked residues (2, limbs, n), linked to a context.

    Raises:
        InvalidCiphertextError: MALFORMED_CIPHERTEXT if SEAL refuses it, for example because it is transparent.
    """
    polynomials, limbs, degree = residues.shape
    words = np.ascontiguousarray(residues, dtype="<u8").tobytes()
    scale = 2.0**profile.log_scale
    body = _CIPHERTEXT.pack(_parms_id(context, limbs), 1, polynomials, degree, limbs, scale, 1) + _stream(
        _COUNT.pack(residues.size) + words
    )
    try:
        return ts.ckks_vector_from(context, write_vector(size, _stream(body), scale))
    except (RuntimeError, ValueError) as error:
        raise InvalidCiphertextError(
            Reason.MALFORMED_CIPHERTEXT, f"SEAL refuses this ciphertext for profile {profile.name}"
        ) from error


def _stream(body: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, _HEADER.size, 4, 3, _UNCOMPRESSED, 0, _HEADER.size + len(body)) + body


def _parms_id(context: Any, limbs: int) -> bytes:
    """SEAL's name of the level that has this many primes."""
    level = context.seal_context().data.first_context_data()
    while len(level.parms().coeff_modulus()) > limbs:
        level = level.next_context_data()
    return struct.pack("<4Q", *level.parms_id())
