"""Expansion: from one ciphertext of a polynomial to one ciphertext per coefficient.

At level i, c becomes c + s(c) and (c - s(c)) X^(-2^i) with s: X -> X^(n/2^i + 1) (Angel, Chen, Laine, Setty: SealPIR,
2018). After log2(D) levels the j-th ciphertext encrypts D times coefficient j; the factor is taken out of the scale
beforehand. Templates stacked at multiples of D in one polynomial are expanded together, at the price of one.

Ciphertexts lie in chunks of 16 lanes: (chunk, polynomial, limb, n, 16).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numba import njit
from numpy.typing import NDArray

from veilface.crypto.public.packed import lanes
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.multiply_add import LANES as TILE_LANES
from veilface.crypto.public.packed.multiply_add import reduction_constants
from veilface.crypto.public.packed.ntt import multiply_shoup
from veilface.crypto.public.packed.parallel import run_parts
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32, PrimeRing, automorphism, prime_ring, shoup


@dataclass(frozen=True, slots=True, eq=False)
class _Division:
    """Division of residues by one prime (`divisor`), rounding to nearest, as SEAL does it."""

    half: np.uint32
    factors: tuple[tuple[np.uint32, np.uint32], ...]
    shifts: tuple[np.uint32, ...]

    @classmethod
    def by(cls, divisor: int, primes: tuple[int, ...]) -> "_Division":
        half = divisor // 2
        factors = []
        for q in primes:
            factor = pow(divisor, -1, q)
            factors.append((np.uint32(factor), np.uint32((factor << 32) // q)))
        return cls(np.uint32(half), tuple(factors), tuple(np.uint32((q - half % q) % q) for q in primes))


@dataclass(frozen=True, slots=True, eq=False)
class ExpansionTables:
    """What the kernels need to know of a profile."""

    profile: PackedProfile
    rings: tuple[PrimeRing, ...]
    constants: U32
    key_switch: _Division
    rescale: _Division

    @property
    def primes(self) -> tuple[np.uint32, ...]:
        """The primes, the special one last."""
        return tuple(np.uint32(ring.prime) for ring in self.rings)

    def forward(self, x: U32, prime: int) -> None:
        """Transform (n, 16) residues of the prime of that number."""
        ring = self.rings[prime]
        lanes.forward(x, ring.forward, ring.forward_shoup, np.uint32(ring.prime))

    def inverse(self, x: U32, prime: int) -> None:
        """Transform (n, 16) residues of the prime of that number back."""
        ring = self.rings[prime]
        factor = ring.degree_inverse
        factor_shoup = np.uint32((factor << 32) // ring.prime)
        lanes.inverse(x, ring.inverse, ring.inverse_shoup, np.uint32(ring.prime), np.uint32(factor), factor_shoup)


@lru_cache(maxsize=8)
def expansion_tables(profile: PackedProfile) -> ExpansionTables:
    """The tables of a profile."""
    dropped = profile.data_primes[profile.segment_limbs]
    return ExpansionTables(
        profile=profile,
        rings=tuple(prime_ring(prime, profile.degree) for prime in profile.primes),
        constants=reduction_constants(profile.primes),
        key_switch=_Division.by(profile.special_prime, profile.data_primes),
        rescale=_Division.by(dropped, profile.data_primes[: profile.segment_limbs]),
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
def _level_monomial(profile: PackedProfile, level: int) -> tuple[tuple[U32, U32], ...]:
    pairs = []
    for prime in profile.data_primes:
        values = prime_ring(prime, profile.degree).monomial(-(1 << level))
        pairs.append((values, shoup(values, prime)))
    return tuple(pairs)


def rotate(state: U32, permutation: NDArray[np.int64], key: U32, tables: ExpansionTables) -> U32:
    """The automorphism of 16 ciphertexts, with key switching; bit-exact with SEAL's apply_galois.

    Args:
        state: uint32 (2, limbs, n, 16), at all data primes.
        permutation: From `ring.automorphism`.
        key: uint32 (2, primes, digits, n).
        tables: Of the profile.

    Returns:
        A new array of the same shape.
    """
    limbs, degree = state.shape[1], state.shape[2]
    special = limbs
    rotated = np.empty_like(state)
    for polynomial in range(2):
        for limb in range(limbs):
            lanes.permute(state[polynomial, limb], permutation, rotated[polynomial, limb])
    digits = rotated[1].copy()
    for limb in range(limbs):
        tables.inverse(digits[limb], limb)
    products = np.empty((2, limbs + 1, degree, lanes.LANES), dtype=np.uint32)
    transformed = np.empty_like(digits)
    for prime in range(limbs + 1):
        q = tables.primes[prime]
        for digit in range(limbs):
            if digit == prime:
                transformed[digit] = rotated[1, digit]
            else:
                one_shoup = tables.constants[prime, 3]
                lanes.reduce_into(digits[digit], q, one_shoup, np.uint32(0), transformed[digit])
                tables.forward(transformed[digit], prime)
        for polynomial in range(2):
            lanes.key_product(
                transformed, key[polynomial, prime], q, tables.constants[prime], products[polynomial, prime]
            )
    _divide_last(products, special, tables.key_switch, tables)
    for limb in range(limbs):
        lanes.add_arrays(products[0, limb], rotated[0, limb], tables.primes[limb])
    result: U32 = products[:, :limbs]
    return result


def _divide_last(values: U32, last: int, division: _Division, tables: ExpansionTables) -> None:
    """Divide values (2, last + 1, n, 16) by the prime of limb `last`; the result is in the limbs before it."""
    divisor = tables.primes[last]
    correction = np.empty_like(values[0, 0])
    for polynomial in range(2):
        residue = values[polynomial, last]
        tables.inverse(residue, last)
        lanes.add_constant(residue, division.half, divisor)
        for limb in range(last):
            q = tables.primes[limb]
            lanes.reduce_into(residue, q, tables.constants[limb, 3], division.shifts[limb], correction)
            tables.forward(correction, limb)
            factor, factor_shoup = division.factors[limb]
            lanes.divide_difference(values[polynomial, limb], correction, q, factor, factor_shoup)


def _expand_chunk(state: U32, chunk: int, level: int, keys: EvaluationKeys, tables: ExpansionTables) -> None:
    profile = tables.profile
    permutation = automorphism(profile.degree, (profile.degree >> level) + 1)
    source = state[chunk]
    rotated = rotate(source, permutation, keys.keys[level], tables)
    count = 1 << level
    in_lane = count < lanes.LANES
    odd = np.empty_like(source[0, 0])
    for limb, (monomial, monomial_shoup) in enumerate(_level_monomial(profile, level)):
        q = tables.primes[limb]
        for polynomial in range(2):
            even = source[polynomial, limb]
            target = odd if in_lane else state[chunk + count // lanes.LANES, polynomial, limb]
            lanes.split_pair(even, rotated[polynomial, limb], monomial, monomial_shoup, q, target)
            if in_lane:
                even[:, count : 2 * count] = odd[:, :count]


@njit(nogil=True, cache=True)
def _store_tiles(x, first, count, polynomial, first_tile, out):  # type: ignore[no-untyped-def]
    """out[first_tile + i // 32, first + lane, polynomial, i % 32] = x[i, lane] for lane < count."""
    for i in range(x.shape[0]):
        tile = first_tile + i // TILE_LANES
        for lane in range(count):
            out[tile, first + lane, polynomial, i % TILE_LANES] = x[i, lane]


def _rescale_chunk(state: U32, chunk: int, coordinates: int, tables: ExpansionTables, out: U32) -> None:
    profile = tables.profile
    first = chunk * lanes.LANES
    count = min(lanes.LANES, coordinates - first)
    if count <= 0:
        return
    _divide_last(state[chunk], profile.segment_limbs, tables.rescale, tables)
    for polynomial in range(2):
        for limb in range(profile.segment_limbs):
            first_tile = limb * profile.degree // TILE_LANES
            _store_tiles(state[chunk, polynomial, limb], first, count, polynomial, first_tile, out)


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
    tables = expansion_tables(profile)
    count = expanded_count(coordinates)
    limbs, degree = profile.template_limbs, profile.degree
    state = np.zeros((max(1, count // lanes.LANES), 2, limbs, degree, lanes.LANES), dtype=np.uint32)
    factor = upscale_factor(profile, coordinates)
    for limb in range(limbs):
        q = profile.data_primes[limb]
        state[0, :, limb, :, 0] = template[:, limb].astype(np.uint64) * np.uint64(factor % q) % np.uint64(q)
    for level in range(count.bit_length() - 1):
        chunks = max(1, (1 << level) // lanes.LANES)
        run_parts([partial(_expand_chunk, state, chunk, level, keys, tables) for chunk in range(chunks)])
    out: U32 = np.zeros((profile.segment_limbs * degree // TILE_LANES, coordinates, 2, TILE_LANES), dtype=np.uint32)
    parts: list[Callable[[], None]] = [
        partial(_rescale_chunk, state, chunk, coordinates, tables, out) for chunk in range(state.shape[0])
    ]
    run_parts(parts)
    return out


def template_multiple(values: U32, constant: U32, constant_shoup: U32, prime: int) -> U32:
    """values * constant mod prime, elementwise, for constants in the NTT domain."""
    result = np.empty_like(values)
    _multiply_rows(values, constant, constant_shoup, np.uint32(prime), result)
    return result


@njit(nogil=True, cache=True)
def _multiply_rows(values, constant, constant_shoup, q, out):  # type: ignore[no-untyped-def]
    for row in range(values.shape[0]):
        for i in range(values.shape[1]):
            out[row, i] = multiply_shoup(values[row, i], constant[i], constant_shoup[i], q)
