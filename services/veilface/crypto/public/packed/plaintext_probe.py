"""Probes in the clear: the two-tower mode, for keys whose policy lets the matcher see who is asked about.

The coordinates of the probe are scalar weights of the encrypted references: no expansion, no evaluation keys and a
response of two polynomials instead of three.
"""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.kernels.tiles import BLOCK, block_count
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32, U64, prime_ring
from veilface.crypto.public.packed.transform import to_ntt


def _header(profile: PackedProfile, coordinates: int) -> wire.Header:
    return wire.Header(wire.Kind.PLAINTEXT_PROBE, 1, 1, profile.probe_log_scale, coordinates)


def write_plaintext_probe(values: NDArray[np.float64], profile: PackedProfile) -> bytes:
    """The coordinates (count,) as integers at scale 2^probe_log_scale."""
    log_scale = profile.probe_log_scale - ((profile.integer_norm or 1).bit_length() - 1)
    weights = np.rint(np.ldexp(values, log_scale)).astype("<i8")
    return wire.write(profile, _header(profile, values.size), weights.tobytes())


def read_plaintext_probe(data: bytes, coordinates: int, profile: PackedProfile) -> NDArray[np.int64]:
    """The weights (coordinates,), parsed strictly. Raises InvalidCiphertextError."""
    payload = wire.read(profile, _header(profile, coordinates), 8 * coordinates, data)
    weights = np.frombuffer(payload, dtype="<i8")
    limit = 1 << (profile.probe_log_scale + 1)
    if int(weights.min()) < -limit or int(weights.max()) > limit:
        raise InvalidCiphertextError(
            Reason.EMBEDDING_OUT_OF_RANGE, f"a weight of a plaintext probe is not within -{limit} to {limit}"
        )
    return weights


def weight_residues(weights: NDArray[np.int64], limbs: int, profile: PackedProfile) -> U64:
    """The weights modulo the first primes, with zeros up to a whole block: (limbs, 16 * block_count(coordinates))."""
    residues: U64 = np.zeros((limbs, BLOCK * block_count(weights.size)), dtype=np.uint64)
    for limb, prime in enumerate(profile.data_primes[:limbs]):
        residues[limb, : weights.size] = np.mod(weights, prime)
    return residues


def weight_polynomial(weights: NDArray[np.int64], profile: PackedProfile) -> U32:
    """The polynomial of the weights in reverse order, as of an encrypted probe: (template_limbs, n), NTT domain."""
    residues = np.zeros((profile.template_limbs, profile.degree), dtype=np.uint32)
    for limb, prime in enumerate(profile.data_primes):
        residues[limb, : weights.size] = np.mod(weights[::-1], prime)
        to_ntt(residues[limb], prime_ring(prime, profile.degree))
    return residues
