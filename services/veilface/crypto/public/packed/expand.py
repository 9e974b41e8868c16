"""Expansion: from one ciphertext of a polynomial to one ciphertext per coefficient.

At level i, c becomes c + s(c) and (c - s(c)) X^(-2^i) with s: X -> X^(n/2^i + 1) (Angel, Chen, Laine, Setty:
SealPIR, 2018). After log2(D) levels the j-th ciphertext encrypts D times coefficient j; the factor is taken out of
the scale beforehand. Every level is walked at all limbs and the leaves are rescaled: a level after the rescale would
cost less, but its rounding noise adds up where templates have much in common (errors of 4e-3 were seen). Templates
stacked at multiples of D in one polynomial are expanded together, at the price of one.

Ciphertexts lie in chunks of 16 lanes: (chunk, polynomial, limb, n, 16).
"""

import threading
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.kernels import pointwise, rotate
from veilface.crypto.public.packed.kernels.multiply_add import LANES as TILE_LANES
from veilface.crypto.public.packed.kernels.vector import COUNT as LANES
from veilface.crypto.public.packed.parallel import run_parts
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32, automorphism, prime_ring, reduction_constants, shoup


@dataclass(frozen=True, slots=True, eq=False)
class ExpansionTables:
    """What the kernels of `rotate` need to know of a profile; their shapes are given there."""

    profile: PackedProfile
    transforms: U32
    constants: U32
    key_switch: U32
    rescale: U32


def _division(divisor: int, primes: tuple[int, ...]) -> U32:
    rows = []
    for q in primes:
        factor = pow(divisor, -1, q)
        rows.append((factor, (factor << 32) // q, -(divisor // 2) % q))
    return np.array(rows, dtype=np.uint32)


@lru_cache(maxsize=16)
def expansion_tables(profile: PackedProfile) -> ExpansionTables:
    """The tables of a profile."""
    rings = [prime_ring(prime, profile.degree) for prime in profile.primes]
    inverses = [(ring.degree_inverse, (ring.degree_inverse << 32) // ring.prime) for ring in rings]
    dropped = profile.data_primes[profile.segment_limbs]
    return ExpansionTables(
        profile=profile,
        transforms=np.array(
            [(ring.forward, ring.forward_shoup, ring.inverse, ring.inverse_shoup) for ring in rings], dtype=np.uint32
        ),
        constants=np.hstack([reduction_constants(profile.primes), np.array(inverses, dtype=np.uint32)]),
        key_switch=_division(profile.special_prime, profile.data_primes),
        rescale=_division(dropped, profile.data_primes[: profile.segment_limbs]),
    )


def expanded_count(coordinates: int) -> int:
    """D: the coordinates rounded up to a power of two."""
    return 1 << (coordinates - 1).bit_length()


def segment_scale(profile: PackedProfile) -> float:
    """The exact scale of expanded templates at `segment_limbs` limbs: about 2^segment_log_scale."""
    dropped = profile.data_primes[profile.segment_limbs]
    return float(2.0 ** (profile.segment_log_scale + dropped.bit_length()) / dropped)


def upscale_factor(profile: PackedProfile, coordinates: int) -> int:
    """The power of two to multiply a template by before its expansion."""
    dropped = profile.data_primes[profile.segment_limbs]
    target = profile.segment_log_scale + dropped.bit_length()
    log_count = expanded_count(coordinates).bit_length() - 1
    return 1 << (target - profile.template_log_scale - log_count)


@lru_cache(maxsize=64)
def level_monomial(profile: PackedProfile, level: int) -> U32:
    """X^(-2^level) in the NTT domain with its Shoup companion, uint32 (limbs, 2, n)."""
    pairs = []
    for prime in profile.data_primes:
        values = prime_ring(prime, profile.degree).monomial(-(1 << level))
        pairs.append((values, shoup(values, prime)))
    return np.array(pairs, dtype=np.uint32)


class _Scratch(threading.local):
    """Work space of one thread, kept between expansions."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[int, int], tuple[U32, U32, U32, U32]] = {}

    def arrays(self, limbs: int, degree: int) -> tuple[U32, U32, U32, U32]:
        """Digits, rotated and scratch (limbs, n, 16), products (2, limbs + 1, n, 16)."""
        key = (limbs, degree)
        if key not in self._arrays:
            block = (degree, LANES)
            self._arrays[key] = (
                np.empty((limbs, *block), dtype=np.uint32),
                np.empty((limbs, *block), dtype=np.uint32),
                np.empty((limbs, *block), dtype=np.uint32),
                np.empty((2, limbs + 1, *block), dtype=np.uint32),
            )
        return self._arrays[key]


_scratch = _Scratch()


def split_level(state: U32, odd: U32, level: int, keys: EvaluationKeys) -> None:
    """One level for one chunk on the calling thread: state becomes the even half, odd the odd; (2, limbs, n, 16)."""
    profile, limbs = keys.profile, state.shape[1]
    tables = expansion_tables(profile)
    digits, rotated, scratch, products = _scratch.arrays(limbs, profile.degree)
    rotate.split_chunk(
        state,
        automorphism(profile.degree, (profile.degree >> level) + 1),
        keys.keys[level],
        tables.key_switch,
        level_monomial(profile, level),
        tables.transforms,
        tables.constants,
        digits,
        rotated,
        scratch,
        products,
        odd,
    )


def _split_level_threaded(state: U32, odd: U32, level: int, keys: EvaluationKeys) -> None:
    """`split_level` for the only chunk of a low level, with the primes spread over the threads."""
    profile = keys.profile
    limbs, degree = state.shape[1], profile.degree
    tables = expansion_tables(profile)
    digits, rotated, _, products = _scratch.arrays(limbs, degree)
    permutation = automorphism(degree, (degree >> level) + 1)
    transforms, constants = tables.transforms, tables.constants
    run_parts(
        [
            partial(rotate.decompose, state, permutation, limb, transforms, constants, digits, rotated)
            for limb in range(limbs)
        ]
    )

    def switch(prime: int) -> None:
        scratch = _scratch.arrays(limbs, degree)[2]
        rotate.switch(state, permutation, prime, keys.keys[level], transforms, constants, digits, scratch, products)

    run_parts([partial(switch, prime) for prime in range(limbs + 1)])
    run_parts([partial(rotate.lift, products, polynomial, limbs, transforms, constants) for polynomial in range(2)])

    def finish(polynomial: int, limb: int) -> None:
        correction = _scratch.arrays(limbs, degree)[2][0]
        monomial = level_monomial(profile, level)
        rotate.divide_and_split(
            state,
            products,
            rotated,
            polynomial,
            limb,
            tables.key_switch,
            monomial,
            transforms,
            constants,
            correction,
            odd,
        )

    run_parts([partial(finish, polynomial, limb) for polynomial in range(2) for limb in range(limbs)])


def _rescale_chunk(state: U32, chunk: int, tables: ExpansionTables, out: U32) -> None:
    """out[chunk] = state[chunk] with its last limb divided away."""
    profile = tables.profile
    last = profile.segment_limbs
    values = state[chunk]
    correction = _scratch.arrays(profile.template_limbs, profile.degree)[2][0]
    for polynomial in range(2):
        rotate.lift(values, polynomial, last, tables.transforms, tables.constants)
        for limb in range(last):
            rotate.divide(
                values, polynomial, limb, last, tables.rescale, tables.transforms, tables.constants, correction
            )
    out[chunk] = values[:, :last]


def _tile_chunk(state: U32, chunk: int, coordinates: int, out: U32) -> None:
    """Write the ciphertexts of a chunk into tiles."""
    first = chunk * LANES
    count = min(LANES, coordinates - first)
    if count <= 0:
        return
    limbs, degree = state.shape[2], state.shape[3]
    for polynomial in range(2):
        for limb in range(limbs):
            first_tile = limb * degree // TILE_LANES
            pointwise.store_tiles(state[chunk, polynomial, limb], first, count, polynomial, first_tile, out)


def _walk(state: U32, levels: int, keys: EvaluationKeys) -> None:
    """The tree from its root, in place."""
    odd: U32 | None = None
    for level in range(levels):
        present = 1 << level
        if present < LANES:
            odd = np.empty_like(state[0]) if odd is None else odd
            _split_level_threaded(state[0], odd, level, keys)
            rotate.shift_lanes(state[0], odd, present)
        elif present == LANES:
            _split_level_threaded(state[0], state[1], level, keys)
        else:
            chunks = present // LANES
            run_parts([partial(split_level, state[c], state[c + chunks], level, keys) for c in range(chunks)])


def expand(template: U32, coordinates: int, keys: EvaluationKeys) -> U32:
    """Expand one template, or templates stacked at multiples of D.

    Args:
        template: uint32 (2, limbs, n) at all data primes, in the NTT domain.
        coordinates: How many coefficients of the template are used.
        keys: The evaluation keys of the template's key version.

    Returns:
        The ciphertexts at `segment_limbs` limbs in tiles: uint32 (segment_limbs * n / 32, coordinates, 2, 32).
    """
    profile = keys.profile
    count = expanded_count(coordinates)
    limbs, degree = profile.template_limbs, profile.degree
    chunks = max(1, count // LANES)
    state: U32 = np.empty((chunks, 2, limbs, degree, LANES), dtype=np.uint32)
    factor = upscale_factor(profile, coordinates)
    state[0] = 0
    for limb in range(limbs):
        q = profile.data_primes[limb]
        state[0, :, limb, :, 0] = template[:, limb].astype(np.uint64) * np.uint64(factor % q) % np.uint64(q)
    _walk(state, count.bit_length() - 1, keys)

    leaves: U32 = np.empty((chunks, 2, profile.segment_limbs, degree, LANES), dtype=np.uint32)
    tables = expansion_tables(profile)
    run_parts([partial(_rescale_chunk, state, chunk, tables, leaves) for chunk in range(chunks)])

    out: U32 = np.empty((profile.segment_limbs * degree // TILE_LANES, coordinates, 2, TILE_LANES), dtype=np.uint32)
    run_parts([partial(_tile_chunk, leaves, chunk, coordinates, out) for chunk in range(chunks)])
    return out
