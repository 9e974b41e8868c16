"""Score ciphertexts: three polynomials, of which the first carries only the coefficients that are scores.

The first polynomial's other coefficients are left out, so nothing but those scores can be decrypted, whatever the
product holds elsewhere. Residues are in the coefficient domain and take 26 bits each.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.public.packed import bitpack, wire
from veilface.crypto.public.packed.expand import expanded_scale
from veilface.crypto.public.packed.kernels import pointwise
from veilface.crypto.public.packed.profiles import RESIDUE_BITS, PackedProfile
from veilface.crypto.public.packed.ring import U32
from veilface.crypto.public.packed.segment import coefficient_positions
from veilface.crypto.public.packed.transform import all_from_ntt


@lru_cache(maxsize=16)
def _division(divisor: int, primes: tuple[int, ...]) -> U32:
    rows = []
    for q in primes:
        factor = pow(divisor, -1, q)
        rows.append((q, factor, (factor << 32) // q, (1 << 32) // q, divisor, -(divisor // 2) % q))
    return np.array(rows, dtype=np.uint32)


def divide_to(values: U32, limbs: int, profile: PackedProfile) -> U32:
    """Rescale residues (count, limbs, n) of the coefficient domain to fewer limbs. In place; returns a view."""
    for last in range(values.shape[1] - 1, limbs - 1, -1):
        pointwise.divide_last(values, last, _division(profile.data_primes[last], profile.data_primes[:last]))
    return values[:, :limbs]


@dataclass(frozen=True, slots=True)
class ScoreFormat:
    """The format of the score ciphertexts of one computation."""

    kind: wire.Kind
    limbs: int
    log_scale: int
    scale: float
    polynomials: int = 3


@lru_cache(maxsize=16)
def search_format(profile: PackedProfile) -> ScoreFormat:
    """Scores of a search; `scale` is what an inner product of coordinates 1 decrypts to."""
    scale = expanded_scale(profile, profile.probe_log_scale) * expanded_scale(profile, profile.segment_log_scale)
    for prime in profile.data_primes[profile.search_score_limbs : profile.segment_limbs]:
        scale /= prime
    log_scale = profile.probe_log_scale + profile.segment_log_scale
    log_scale -= RESIDUE_BITS * (profile.segment_limbs - profile.search_score_limbs)
    return ScoreFormat(wire.Kind.SEARCH_SCORES, profile.search_score_limbs, log_scale, scale)


@lru_cache(maxsize=16)
def weighed_format(profile: PackedProfile) -> ScoreFormat:
    """Scores of a search with a plaintext probe: two polynomials, and a probe at the scale 2^probe_log_scale."""
    form = search_format(profile)
    scale = form.scale / expanded_scale(profile, profile.probe_log_scale) * 2.0**profile.probe_log_scale
    return ScoreFormat(wire.Kind.WEIGHED_SCORES, form.limbs, form.log_scale, scale, polynomials=2)


def _verify_scale(profile: PackedProfile, log_scale: int) -> tuple[int, float]:
    """log2 and exact value of a scale at all limbs, after rescaling to those of a 1:1 score."""
    dropped = profile.data_primes[profile.verify_score_limbs :]
    return log_scale - RESIDUE_BITS * len(dropped), 2.0**log_scale / math.prod(dropped)


@lru_cache(maxsize=16)
def verify_format(profile: PackedProfile) -> ScoreFormat:
    """The score of a 1:1 comparison."""
    log_scale, scale = _verify_scale(profile, 2 * profile.template_log_scale)
    return ScoreFormat(wire.Kind.VERIFY_SCORE, profile.verify_score_limbs, log_scale, scale)


@lru_cache(maxsize=16)
def weighed_verify_format(profile: PackedProfile) -> ScoreFormat:
    """The score of a 1:1 comparison with a plaintext probe."""
    log_scale, scale = _verify_scale(profile, profile.template_log_scale + profile.probe_log_scale)
    limbs = profile.verify_score_limbs
    return ScoreFormat(wire.Kind.WEIGHED_VERIFY_SCORE, limbs, log_scale, scale, polynomials=2)


def to_coefficients(values: U32, profile: PackedProfile) -> U32:
    """Residues (count, limbs, n) from the NTT to the coefficient domain, in place."""
    return all_from_ntt(values, profile.data_primes[: values.shape[1]])


def rescaled(products: U32, form: ScoreFormat, profile: PackedProfile) -> U32:
    """Score ciphertexts (count, polynomials, limbs, n) in the NTT domain as what is sent of them, for `write_scores`.

    Returns:
        Coefficients at the limbs of the format, (count, polynomials, form.limbs, n): a view, the products are
        overwritten.
    """
    count, polynomials, limbs, degree = products.shape
    values = divide_to(to_coefficients(products.reshape(-1, limbs, degree), profile), form.limbs, profile)
    return values.reshape(count, polynomials, form.limbs, degree)


def write_scores(
    values: U32, coordinates: int, slots: NDArray[np.intp] | None, form: ScoreFormat, profile: PackedProfile
) -> bytes:
    """A score ciphertext.

    Args:
        values: uint32 (polynomials, form.limbs, n) from `rescaled`.
        coordinates: How many coordinates were multiplied.
        slots: The slots whose scores are wanted, ascending; None for a 1:1 comparison.
        form: From `search_format` or `verify_format`.
        profile: Of the key.
    """
    if slots is None:
        positions = np.array([coordinates - 1], dtype=np.intp)
        bitmap = b""
    else:
        positions = coefficient_positions(slots, coordinates, profile.degree)
        occupied = np.zeros(profile.degree, dtype=np.uint8)
        occupied[slots] = 1
        bitmap = np.packbits(occupied, bitorder="little").tobytes()
    pieces = [part for limb in range(form.limbs) for part in (values[0, limb, positions], *values[1:, limb])]
    payload = bitmap + bitpack.pack(np.concatenate(pieces), RESIDUE_BITS)
    header = wire.Header(form.kind, form.polynomials, form.limbs, form.log_scale, coordinates, positions.size)
    return wire.write(profile, header, payload)


def read_slots(data: bytes, score_count: int, profile: PackedProfile) -> NDArray[np.intp]:
    """The slots of a ciphertext that `read_scores` accepts, ascending, shape (score_count,); 0 for a 1:1 score."""
    if data[4] in (wire.Kind.VERIFY_SCORE, wire.Kind.WEIGHED_VERIFY_SCORE):
        return np.zeros(score_count, dtype=np.intp)
    bitmap = np.frombuffer(data, dtype=np.uint8, count=profile.degree // 8, offset=wire.HEADER_BYTES)
    return np.flatnonzero(np.unpackbits(bitmap, bitorder="little"))


def read_scores(
    data: bytes, coordinates: int, score_count: int, form: ScoreFormat, profile: PackedProfile
) -> tuple[U32, U32, NDArray[np.intp]]:
    """Parse a score ciphertext strictly.

    Returns:
        The coefficients of the first polynomial that are scores (limbs, score_count), the other polynomials
        (polynomials - 1, limbs, n), both in the coefficient domain, and the positions of the scores (score_count,).

    Raises:
        InvalidCiphertextError: for anything else.
    """
    degree = profile.degree
    is_search = form.kind in (wire.Kind.SEARCH_SCORES, wire.Kind.WEIGHED_SCORES)
    others_count = form.polynomials - 1
    if not 1 <= score_count <= (degree if is_search else 1):
        raise InvalidCiphertextError(Reason.WRONG_SIZE, f"a score ciphertext cannot hold {score_count} scores")
    bitmap_bytes = degree // 8 if is_search else 0
    residue_count = form.limbs * (score_count + others_count * degree)
    header = wire.Header(form.kind, form.polynomials, form.limbs, form.log_scale, coordinates, score_count)
    size = bitmap_bytes + bitpack.packed_bytes(residue_count, RESIDUE_BITS)
    payload = wire.read(profile, header, size, data)
    if is_search:
        bits = np.unpackbits(np.frombuffer(payload[:bitmap_bytes], dtype=np.uint8), bitorder="little")
        slots = np.flatnonzero(bits)
        if slots.size != score_count:
            raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "the slots do not agree with the score count")
        positions = coefficient_positions(slots, coordinates, degree)
    else:
        positions = np.array([coordinates - 1], dtype=np.intp)
    residues, clean = bitpack.unpack(payload[bitmap_bytes:], residue_count, RESIDUE_BITS)
    if not clean:
        raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "bits behind the last residue")
    per_limb = residues.reshape(form.limbs, -1)
    wire.check_residues(per_limb[:, None, :].transpose(1, 0, 2), profile.data_primes)
    scores = np.ascontiguousarray(per_limb[:, :score_count])
    others = per_limb[:, score_count:].reshape(form.limbs, others_count, degree).transpose(1, 0, 2)
    return scores, np.ascontiguousarray(others), positions
