"""Probes in the clear: the two-tower mode, for keys whose policy lets the matcher see who is asked about.

The coordinates of the probe are scalar weights of the encrypted references: no expansion, no evaluation keys and a
response of two polynomials instead of three.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U64


@dataclass(frozen=True, slots=True, eq=False)
class WeighedProbe:
    """A plaintext probe as residues, uint64 (segment_limbs, coordinates)."""

    weights: U64
    coordinates: int


def _header(profile: PackedProfile, coordinates: int) -> wire.Header:
    return wire.Header(wire.Kind.PLAINTEXT_PROBE, 1, 1, profile.segment_log_scale, coordinates)


def write_plaintext_probe(values: NDArray[np.float64], profile: PackedProfile) -> bytes:
    """The coordinates (count,) as integers at scale 2^segment_log_scale."""
    log_scale = profile.segment_log_scale - ((profile.integer_norm or 1).bit_length() - 1)
    weights = np.rint(np.ldexp(values, log_scale)).astype("<i8")
    return wire.write(profile, _header(profile, values.size), weights.tobytes())


def read_plaintext_probe(data: bytes, coordinates: int, profile: PackedProfile) -> WeighedProbe:
    """Parse strictly. Raises InvalidCiphertextError."""
    payload = wire.read(profile, _header(profile, coordinates), 8 * coordinates, data)
    weights = np.frombuffer(payload, dtype="<i8")
    if int(np.abs(weights).max()) > 1 << (profile.segment_log_scale + 1):
        raise InvalidCiphertextError(Reason.EMBEDDING_OUT_OF_RANGE, "a weight is out of range")
    limbs = [np.mod(weights, prime) for prime in profile.data_primes[: profile.segment_limbs]]
    return WeighedProbe(np.array(limbs).astype(np.uint64), coordinates)
