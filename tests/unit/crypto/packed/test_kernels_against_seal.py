"""Every kernel gives the same residues as SEAL's Evaluator, bit for bit."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.crypto.packed.conftest import Oracle, make_oracle
from veilface.crypto.public.packed import seal
from veilface.crypto.public.packed.compare import tensor_product
from veilface.crypto.public.packed.encrypt import encode
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.expand import expansion_tables, level_monomial, split_level
from veilface.crypto.public.packed.kernels import rotate
from veilface.crypto.public.packed.kernels.multiply_add import LANES, SCRATCH, multiply_add
from veilface.crypto.public.packed.profiles import CKKS_PACKED_128
from veilface.crypto.public.packed.ring import U32, addresses, prime_ring, reduction_constants
from veilface.crypto.public.packed.scores import divide_to, to_coefficients
from veilface.crypto.public.packed.transform import from_ntt, to_ntt

PROFILES = ["ckks-packed-128", "ckks-packed-256", "ckks-packed-exact"]


def random_residues(oracle: Oracle, polynomials: int, limbs: int, rng: np.random.Generator) -> U32:
    primes = oracle.profile.data_primes[:limbs]
    return np.stack([rng.integers(0, q, (polynomials, oracle.profile.degree), dtype=np.uint32) for q in primes], axis=1)


def residues_of(ciphertext: object) -> U32:
    return seal.ciphertext_residues(ciphertext)


@pytest.mark.parametrize("name", PROFILES)
def test_inverse_transform_undoes_the_forward_one(name: str, oracle: Callable[[str], Oracle]) -> None:
    profile = oracle(name).profile
    for prime in profile.primes:
        ring = prime_ring(prime, profile.degree)
        coefficients = np.random.default_rng(1).integers(0, prime, profile.degree, dtype=np.uint32)
        assert np.array_equal(from_ntt(to_ntt(coefficients.copy(), ring), ring), coefficients)


@pytest.mark.parametrize("name", PROFILES)
def test_direct_encoding_equals_seals_encoder_on_the_canonical_embedding(
    name: str, oracle: Callable[[str], Oracle]
) -> None:
    """The same polynomial through SEAL's slots differs by its floating-point rounding only: one unit at most."""
    seal_side = oracle(name)
    profile = seal_side.profile
    n = profile.degree
    coefficients = np.zeros(n)
    coefficients[:128] = np.random.default_rng(2).normal(size=128) / 12
    roots = np.exp(1j * np.pi * np.arange(2 * n) / n)
    exponents = np.array([pow(3, k, 2 * n) for k in range(n // 2)])
    slots = np.array(
        [np.dot(coefficients[:128], roots[(exponent * np.arange(128)) % (2 * n)]) for exponent in exponents]
    )
    plaintext = sealapi.Plaintext()
    seal_side.encoder.encode(slots.tolist(), 2.0**profile.template_log_scale, plaintext)
    limbs = profile.template_limbs
    theirs = seal.plaintext_residues(plaintext, limbs, n).copy()
    ours = encode(coefficients, profile.template_log_scale, limbs, profile)
    for limb in range(limbs):
        prime = profile.data_primes[limb]
        ring = prime_ring(prime, n)
        difference = from_ntt(theirs[limb], ring).astype(np.int64) - from_ntt(ours[limb], ring)
        difference = (difference + prime // 2) % prime - prime // 2
        assert int(np.abs(difference).max()) <= 1


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_one_level_of_the_expansion_equals_seals_automorphism_sum_and_shifted_difference(
    name: str, level: int, oracle: Callable[[str], Oracle]
) -> None:
    seal_side = oracle(name)
    profile = seal_side.profile
    limbs = profile.template_limbs
    rng = np.random.default_rng(3)
    lanes = [random_residues(seal_side, 2, limbs, rng) for _ in range(16)]
    state = np.ascontiguousarray(np.stack(lanes, axis=-1))
    odd = np.empty_like(state)
    by_digit = seal.galois_key_residues(seal_side.galois_keys, seal_side.elements, profile)
    keys = EvaluationKeys(profile, np.ascontiguousarray(by_digit.transpose(0, 2, 3, 1, 4)))
    split_level(state, odd, level, keys)

    monomial = level_monomial(profile, level)[:, 0].astype(np.uint64)
    primes = np.array(profile.data_primes, dtype=np.uint64)[:, None]
    for lane in (0, 7, 15):
        original = seal.ciphertext_from_residues(seal_side.context, lanes[lane], 1.0)
        rotated, even, difference = sealapi.Ciphertext(), sealapi.Ciphertext(), sealapi.Ciphertext()
        seal_side.evaluator.apply_galois(original, seal_side.elements[level], seal_side.galois_keys, rotated)
        seal_side.evaluator.add(original, rotated, even)
        seal_side.evaluator.sub(original, rotated, difference)
        assert np.array_equal(residues_of(even), state[..., lane])
        assert np.array_equal(residues_of(difference) * monomial % primes, odd[..., lane])


@pytest.mark.parametrize("name", PROFILES)
def test_division_of_lanes_equals_seals_rescale(name: str, oracle: Callable[[str], Oracle]) -> None:
    seal_side = oracle(name)
    profile = seal_side.profile
    limbs, last = profile.template_limbs, profile.segment_limbs
    tables = expansion_tables(profile)
    rng = np.random.default_rng(4)
    lanes = [random_residues(seal_side, 2, limbs, rng) for _ in range(16)]
    values = np.ascontiguousarray(np.stack(lanes, axis=-1))
    correction = np.empty((profile.degree, 16), dtype=np.uint32)
    for polynomial in range(2):
        rotate.lift(values, polynomial, last, tables.transforms, tables.constants)
        for limb in range(last):
            rotate.divide(
                values, polynomial, limb, last, tables.rescale, tables.transforms, tables.constants, correction
            )
    for lane in (0, 9):
        theirs = seal.ciphertext_from_residues(seal_side.context, lanes[lane], 2.0**50)
        seal_side.evaluator.rescale_to_next_inplace(theirs)
        assert np.array_equal(residues_of(theirs), values[:, :last, :, lane])


@pytest.mark.parametrize("name", PROFILES)
def test_tensor_product_and_rescale_equal_seals_multiply_and_rescale(
    name: str, oracle: Callable[[str], Oracle]
) -> None:
    seal_side = oracle(name)
    profile, limbs = seal_side.profile, seal_side.profile.template_limbs
    rng = np.random.default_rng(5)
    a, b = (random_residues(seal_side, 2, limbs, rng) for _ in range(2))
    theirs = sealapi.Ciphertext()
    seal_side.evaluator.multiply(
        seal.ciphertext_from_residues(seal_side.context, a, 2.0**30),
        seal.ciphertext_from_residues(seal_side.context, b, 2.0**30),
        theirs,
    )
    ours = tensor_product(a, b, profile)
    assert np.array_equal(residues_of(theirs), ours)

    seal_side.evaluator.rescale_to_next_inplace(theirs)
    rescaled = divide_to(to_coefficients(ours, profile), limbs - 1, profile)
    expected = to_coefficients(residues_of(theirs), profile)
    assert np.array_equal(expected, rescaled)


def tile(residues: U32) -> U32:
    """Ciphertexts (d, 2, limbs, n) as tiles (limbs * n / 32, d, 2, 32)."""
    d, _, limbs, n = residues.shape
    return np.ascontiguousarray(residues.reshape(d, 2, limbs * n // LANES, LANES).transpose(2, 0, 1, 3))


def multiply_add_products(probes: list[U32], segments: list[U32], primes: tuple[int, ...], degree: int) -> U32:
    """The kernel on tiles, uint32 (P, S, 3, limbs, n)."""
    tiles, coordinates = probes[0].shape[0], probes[0].shape[1]
    out = np.empty((len(probes), len(segments), 3, tiles * LANES), dtype=np.uint32)
    multiply_add(
        addresses(probes),
        addresses(segments),
        coordinates,
        0,
        tiles,
        degree // LANES,
        reduction_constants(primes),
        np.empty(SCRATCH, dtype=np.uint64),
        out,
    )
    return out.reshape(len(probes), len(segments), 3, len(primes), degree)


@settings(max_examples=8, deadline=None)
@given(
    coordinates=st.integers(1, 5),
    probe_count=st.integers(1, 3),
    segment_count=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_multiply_add_equals_seals_multiply_and_add(
    coordinates: int, probe_count: int, segment_count: int, seed: int
) -> None:
    seal_side = make_oracle("ckks-packed-128")
    profile = seal_side.profile
    limbs = profile.segment_limbs
    rng = np.random.default_rng(seed)

    def ciphertexts() -> U32:
        return np.stack([random_residues(seal_side, 2, limbs, rng) for _ in range(coordinates)])

    probes = [ciphertexts() for _ in range(probe_count)]
    segments = [ciphertexts() for _ in range(segment_count)]
    products = multiply_add_products(
        [tile(probe) for probe in probes],
        [tile(segment) for segment in segments],
        profile.data_primes[:limbs],
        profile.degree,
    )
    for p, probe in enumerate(probes):
        for s, segment in enumerate(segments):
            total = None
            for j in range(coordinates):
                term = sealapi.Ciphertext()
                seal_side.evaluator.multiply(
                    seal.ciphertext_from_residues(seal_side.context, probe[j], 1.0),
                    seal.ciphertext_from_residues(seal_side.context, segment[j], 1.0),
                    term,
                )
                if total is None:
                    total = term
                else:
                    seal_side.evaluator.add_inplace(total, term)
            assert np.array_equal(residues_of(total), products[p, s])


def test_multiply_add_of_the_largest_residues_does_not_overflow_beyond_2048_coordinates() -> None:
    profile = CKKS_PACKED_128
    primes = profile.data_primes[:2]
    largest = np.stack([np.full((3000, 2, profile.degree), q - 1, dtype=np.uint32) for q in primes], axis=2)
    tiles = tile(largest)
    (product,) = multiply_add_products([tiles], [tiles], primes, profile.degree)[0]
    for limb, q in enumerate(primes):
        square = (q - 1) * (q - 1)
        assert set(np.unique(product[0, limb])) == {3000 * square % q}
        assert set(np.unique(product[1, limb])) == {6000 * square % q}
        assert set(np.unique(product[2, limb])) == {3000 * square % q}


_DIGEST_PROGRAM = """
import hashlib, sys
import numpy as np
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.expand import expand
from veilface.crypto.public.packed.kernels.multiply_add import HAS_IFMA
from veilface.crypto.public.packed.profiles import CKKS_PACKED_128 as profile
from tests.unit.crypto.packed.test_kernels_against_seal import multiply_add_products
rng = np.random.default_rng(6)
shape = EvaluationKeys.shape(profile)
keys = EvaluationKeys(profile, rng.integers(0, min(profile.primes), shape, dtype=np.uint32))
template = rng.integers(0, min(profile.primes), (2, 3, profile.degree), dtype=np.uint32)
tiles = expand(template, 20, keys)
product = multiply_add_products([tiles, tiles], [tiles, tiles, tiles], profile.data_primes[:2], profile.degree)
print(HAS_IFMA, hashlib.sha256(tiles.tobytes() + product.tobytes()).hexdigest())
"""


def kernel_digest(cpu: str | None) -> tuple[bool, str]:
    environment = {**os.environ, "NUMBA_DISABLE_CACHING": "1", "PYTHONPATH": str(Path.cwd())}
    if cpu is not None:
        environment |= {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""}
    run = subprocess.run(
        [sys.executable, "-c", _DIGEST_PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    has_ifma, digest = run.stdout.split()
    return has_ifma == "True", digest


def test_a_cpu_without_avx512_gives_the_same_answers() -> None:
    plain_ifma, plain = kernel_digest("x86-64")
    _, here = kernel_digest(None)
    assert not plain_ifma
    assert plain == here
