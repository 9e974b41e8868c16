"""Expansion: from one ciphertext of a polynomial to one ciphertext per coefficient.

At level i, c becomes c + s(c) and (c - s(c)) X^(-2^i) with s: X -> X^(n/2^i + 1) (Angel, Chen, Laine, Setty:
SealPIR, 2018). After log2(D) levels the j-th ciphertext encrypts D times coefficient j; the factor is taken out of
the scale beforehand. Every level is walked at all limbs and the leaves are rescaled: a level after the rescale would
cost less, but its rounding noise adds up where templates have much in common (errors of 4e-3 were seen). Templates
stacked at multiples of D in one polynomial are expanded together, at the price of one.

Ciphertexts lie in chunks of 16 lanes: (polynomial, limb, n, 16). With 2^i ciphertexts present, the one at position p
is the ancestor of the leaves p, p + 2^i, p + 2 * 2^i ...
"""

import threading
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

import numpy as np

from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.kernels import pointwise, rotate
from veilface.crypto.public.packed.kernels.tiles import BLOCK, block_count
from veilface.crypto.public.packed.kernels.tiles import LANES as TILE_LANES
from veilface.crypto.public.packed.kernels.vector import COUNT as LANES
from veilface.crypto.public.packed.parallel import run_urgent_parts, worker_count
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32, automorphism, prime_ring, reduction_constants, shoup

# More subtrees than threads, so that a thread that is done early takes another.
_SUBTREES_PER_THREAD: Final = 2


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


def expanded_scale(profile: PackedProfile, log_scale: int) -> float:
    """The exact scale of templates that were expanded to about 2^log_scale at `segment_limbs` limbs."""
    dropped = profile.data_primes[profile.segment_limbs]
    return float(2.0 ** (log_scale + dropped.bit_length()) / dropped)


def upscale_factor(profile: PackedProfile, coordinates: int, log_scale: int) -> int:
    """The power of two to multiply a template by before its expansion."""
    dropped = profile.data_primes[profile.segment_limbs]
    log_count = expanded_count(coordinates).bit_length() - 1
    return 1 << (log_scale + dropped.bit_length() - profile.template_log_scale - log_count)


@lru_cache(maxsize=64)
def level_monomial(profile: PackedProfile, level: int) -> U32:
    """X^(-2^level) in the NTT domain with its Shoup companion, uint32 (limbs, 2, n)."""
    pairs = []
    for prime in profile.data_primes:
        values = prime_ring(prime, profile.degree).monomial(-(1 << level))
        pairs.append((values, shoup(values, prime)))
    return np.array(pairs, dtype=np.uint32)


class _Workspace:
    """Arrays of one thread: digits, rotated and scratch (limbs, n, 16), products (2, limbs + 1, n, 16), branches."""

    def __init__(self, limbs: int, degree: int) -> None:
        block = (degree, LANES)
        self.digits: U32 = np.empty((limbs, *block), dtype=np.uint32)
        self.rotated: U32 = np.empty((limbs, *block), dtype=np.uint32)
        self.scratch: U32 = np.empty((limbs, *block), dtype=np.uint32)
        self.products: U32 = np.empty((2, limbs + 1, *block), dtype=np.uint32)
        self._branches: list[U32] = []

    def branch(self, depth: int) -> U32:
        """Room for the odd half of a chunk, `depth` levels into a subtree: (2, limbs, n, 16)."""
        while len(self._branches) <= depth:
            self._branches.append(np.empty((2, *self.digits.shape), dtype=np.uint32))
        return self._branches[depth]


class _Workspaces(threading.local):
    """The work space of the calling thread by its shape, kept between expansions."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], _Workspace] = {}

    def get(self, profile: PackedProfile) -> _Workspace:
        key = (profile.template_limbs, profile.degree)
        if key not in self._known:
            self._known[key] = _Workspace(*key)
        return self._known[key]


_workspaces = _Workspaces()


def split_level(state: U32, odd: U32, level: int, keys: EvaluationKeys) -> None:
    """One level for one chunk on the calling thread: state becomes the even half, odd the odd; (2, limbs, n, 16)."""
    profile = keys.profile
    tables, work = expansion_tables(profile), _workspaces.get(profile)
    rotate.split_chunk(
        state,
        automorphism(profile.degree, (profile.degree >> level) + 1),
        keys.keys[level],
        tables.key_switch,
        level_monomial(profile, level),
        tables.transforms,
        tables.constants,
        work.digits,
        work.rotated,
        work.scratch,
        work.products,
        odd,
    )


def split_level_threaded(state: U32, odd: U32, level: int, keys: EvaluationKeys) -> None:
    """`split_level` for the only chunk of a low level, with the primes spread over the threads."""
    profile = keys.profile
    limbs = profile.template_limbs
    tables, work = expansion_tables(profile), _workspaces.get(profile)
    digits, rotated, products = work.digits, work.rotated, work.products
    permutation = automorphism(profile.degree, (profile.degree >> level) + 1)
    transforms, constants = tables.transforms, tables.constants

    def decompose(limb: int) -> None:
        rotate.decompose(state, permutation, limb, transforms, constants, digits, rotated)

    def switch(prime: int) -> None:
        scratch = _workspaces.get(profile).scratch
        rotate.switch(state, permutation, prime, keys.keys[level], transforms, constants, digits, scratch, products)

    def lift(polynomial: int) -> None:
        rotate.lift(products, polynomial, limbs, transforms, constants)

    def finish(polynomial: int, limb: int) -> None:
        correction = _workspaces.get(profile).scratch[0]
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

    run_urgent_parts([partial(decompose, limb) for limb in range(limbs)])
    run_urgent_parts([partial(switch, prime) for prime in range(limbs + 1)])
    run_urgent_parts([partial(lift, polynomial) for polynomial in range(2)])
    run_urgent_parts([partial(finish, polynomial, limb) for polynomial in range(2) for limb in range(limbs)])


@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
    """An expansion in progress: where its leaves go, and how many of them there are and are wanted."""

    keys: EvaluationKeys
    count: int
    coordinates: int
    reverse: bool
    tiles: U32

    def trunk(self, template: U32, factor: int) -> list[U32]:
        """The chunks of the level from which every thread has subtrees of its own; (2, limbs, n, 16) each."""
        profile, keys = self.keys.profile, self.keys
        shape = (2, profile.template_limbs, profile.degree, LANES)
        root: U32 = np.zeros(shape, dtype=np.uint32)
        for limb, q in enumerate(profile.data_primes):
            root[:, limb, :, 0] = template[:, limb].astype(np.uint64) * np.uint64(factor % q) % np.uint64(q)
        level, present = 0, 1
        odd: U32 = np.empty(shape, dtype=np.uint32)
        while present < min(LANES, self.count):
            split_level_threaded(root, odd, level, keys)
            rotate.shift_lanes(root, odd, present)
            level, present = level + 1, 2 * present
        chunks = [root]
        while present < self.count and len(chunks) < _SUBTREES_PER_THREAD * worker_count():
            halves: list[U32] = [np.empty(shape, dtype=np.uint32) for _ in chunks]
            if len(chunks) == 1:
                split_level_threaded(chunks[0], halves[0], level, keys)
            else:
                run_urgent_parts(
                    [partial(split_level, *pair, level, keys) for pair in zip(chunks, halves, strict=True)]
                )
            chunks += halves
            level, present = level + 1, 2 * present
        return chunks

    def descend(self, state: U32, first: int, present: int, depth: int = 0) -> None:
        """Expand the subtree of a chunk whose lanes begin with leaf `first`, at a level of `present` ciphertexts."""
        if first >= self.coordinates:
            return
        if present >= self.count:
            self._finish(state, first)
            return
        odd = _workspaces.get(self.keys.profile).branch(depth)
        split_level(state, odd, present.bit_length() - 1, self.keys)
        self.descend(state, first, 2 * present, depth + 1)
        self.descend(odd, first + present, 2 * present, depth + 1)

    def _finish(self, leaves: U32, first: int) -> None:
        """Rescale a chunk of leaves into their tiles."""
        profile = self.keys.profile
        tables, last = expansion_tables(profile), profile.segment_limbs
        correction = _workspaces.get(profile).scratch[0]
        tiles_per_limb = profile.degree // TILE_LANES
        for polynomial in range(2):
            rotate.lift(leaves, polynomial, last, tables.transforms, tables.constants)
            for limb in range(last):
                rotate.divide(
                    leaves, polynomial, limb, last, tables.rescale, tables.transforms, tables.constants, correction
                )
                pointwise.store_tiles(
                    leaves[polynomial, limb],
                    first,
                    self.coordinates,
                    polynomial,
                    limb * tiles_per_limb,
                    self.reverse,
                    self.tiles,
                )


def expand(template: U32, coordinates: int, keys: EvaluationKeys, log_scale: int, *, reverse: bool = False) -> U32:
    """Expand one template, or templates stacked at multiples of D.

    The tree is walked level by level until there is a chunk for every thread, then depth first: what is in work at a
    time stays near the caches, and needs no more memory than a few chunks.

    Args:
        template: uint32 (2, limbs, n) at all data primes, in the NTT domain.
        coordinates: How many coefficients of the template are used.
        keys: The evaluation keys of the template's key version.
        log_scale: Of the result, see `expanded_scale`.
        reverse: Whether the last coefficient comes first, as probes want it.

    Returns:
        The ciphertexts at `segment_limbs` limbs in tiles, with zeros up to a whole block of coordinates: uint32
        (segment_limbs * n / 32, 16 * block_count(coordinates), 2, 32).
    """
    profile = keys.profile
    shape = (profile.segment_limbs * profile.degree // TILE_LANES, BLOCK * block_count(coordinates), 2, TILE_LANES)
    tiles: U32 = np.empty(shape, dtype=np.uint32)
    tiles[:, coordinates:] = 0
    tree = _Tree(keys, expanded_count(coordinates), coordinates, reverse, tiles)
    chunks = tree.trunk(template, upscale_factor(profile, coordinates, log_scale))
    present = len(chunks) * LANES
    run_urgent_parts([partial(tree.descend, chunk, c * LANES, present) for c, chunk in enumerate(chunks)])
    return tree.tiles
