"""Products of a search and of a comparison give the residues of SEAL's Evaluator, bit for bit."""

from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.crypto.packed.conftest import Oracle, make_oracle
from tests.unit.crypto.packed.tiles import dense, multiply_add_products, tile, weighed_sums
from veilface.crypto.public.packed import seal
from veilface.crypto.public.packed.compare import plaintext_product, tensor_product
from veilface.crypto.public.packed.kernels.tiles import BLOCK, block_count
from veilface.crypto.public.packed.plaintext_probe import weight_residues
from veilface.crypto.public.packed.profiles import CKKS_PACKED_128, packed_profile
from veilface.crypto.public.packed.ring import U32

PROFILES = ["ckks-packed-128", "ckks-packed-256", "ckks-packed-exact"]


def total(seal_side: Oracle, terms: list[Any]) -> U32:
    """The residues of the sum of SEAL ciphertexts."""
    result = terms[0]
    for term in terms[1:]:
        seal_side.evaluator.add_inplace(result, term)
    return seal.ciphertext_residues(result)


def product(seal_side: Oracle, a: U32, b: U32) -> Any:
    """SEAL's product of two ciphertexts, without relinearisation."""
    result = sealapi.Ciphertext()
    seal_side.evaluator.multiply(seal_side.ciphertext(a), seal_side.ciphertext(b), result)
    return result


@settings(max_examples=6, deadline=None)
@given(name=st.sampled_from(PROFILES), seed=st.integers(0, 2**32 - 1))
def test_the_product_of_a_comparison_equals_seals_multiply(name: str, seed: int) -> None:
    seal_side = make_oracle(name)
    rng = np.random.default_rng(seed)
    a, b = (seal_side.random_residues(2, seal_side.profile.template_limbs, rng) for _ in range(2))
    assert np.array_equal(seal.ciphertext_residues(product(seal_side, a, b)), tensor_product(a, b, seal_side.profile))


@pytest.mark.parametrize("name", PROFILES)
def test_the_product_with_a_plaintext_probe_equals_seals_multiply_plain(name: str) -> None:
    seal_side = make_oracle(name)
    profile, limbs = seal_side.profile, seal_side.profile.template_limbs
    rng = np.random.default_rng(5)
    ciphertext = seal_side.random_residues(2, limbs, rng)
    plaintext, theirs = sealapi.Plaintext(), sealapi.Ciphertext()
    seal_side.encoder.encode(rng.normal(size=profile.degree // 2).tolist(), 2.0**30, plaintext)
    seal_side.evaluator.multiply_plain(seal_side.ciphertext(ciphertext), plaintext, theirs)
    ours = plaintext_product(ciphertext, seal.plaintext_residues(plaintext, limbs, profile.degree), profile)
    assert np.array_equal(seal.ciphertext_residues(theirs), ours)


# Blocks of one or two probes by one or two segments, and every way to have one left over.
@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(PROFILES),
    coordinates=st.sampled_from([1, 2, 3, 16, 17]),
    probe_count=st.integers(1, 3),
    segment_count=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_multiply_add_equals_seals_multiply_and_add(
    name: str, coordinates: int, probe_count: int, segment_count: int, seed: int
) -> None:
    seal_side = make_oracle(name)
    profile, limbs = seal_side.profile, seal_side.profile.segment_limbs
    rng = np.random.default_rng(seed)
    probes, segments = (
        [np.stack([seal_side.random_residues(2, limbs, rng) for _ in range(coordinates)]) for _ in range(count)]
        for count in (probe_count, segment_count)
    )
    products = multiply_add_products(
        [tile(probe) for probe in probes],
        [dense(tile(segment)) for segment in segments],
        profile.data_primes[:limbs],
        profile.degree,
    )
    for p, probe in enumerate(probes):
        for s, segment in enumerate(segments):
            terms = [product(seal_side, a, b) for a, b in zip(probe, segment, strict=True)]
            assert np.array_equal(total(seal_side, terms), products[p, s])


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(PROFILES),
    coordinates=st.sampled_from([1, 2, 3, 16, 17]),
    probe_count=st.integers(1, 3),
    segment_count=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_weighing_equals_seals_multiply_plain_and_add(
    name: str, coordinates: int, probe_count: int, segment_count: int, seed: int
) -> None:
    seal_side = make_oracle(name)
    profile, limbs = seal_side.profile, seal_side.profile.segment_limbs
    rng = np.random.default_rng(seed)
    limit = 1 << profile.probe_log_scale
    weights = rng.integers(-limit, limit, (probe_count, coordinates))
    segments = [
        np.stack([seal_side.random_residues(2, limbs, rng) for _ in range(coordinates)]) for _ in range(segment_count)
    ]
    sums = weighed_sums(
        np.stack([weight_residues(row, limbs, profile) for row in weights]),
        [dense(tile(segment)) for segment in segments],
        profile.data_primes[:limbs],
        profile.degree,
    )
    for p, row in enumerate(weights):
        for s, segment in enumerate(segments):
            terms = []
            for weight, residues in zip(row, segment, strict=True):
                scalar, term = sealapi.Plaintext(), sealapi.Ciphertext()
                seal_side.encoder.encode(float(weight), list(seal_side.context.parms_ids[limbs]), 1.0, scalar)
                seal_side.evaluator.multiply_plain(seal_side.ciphertext(residues), scalar, term)
                terms.append(term)
            assert np.array_equal(total(seal_side, terms), sums[p, s])


@pytest.mark.parametrize("probes", [1, 2])
@pytest.mark.parametrize("segments", [1, 2])
def test_multiply_add_of_the_largest_residues_does_not_overflow_beyond_2048_coordinates(
    probes: int, segments: int
) -> None:
    profile = CKKS_PACKED_128
    primes = profile.data_primes[:2]
    residues = np.empty((3000, 2, 2, 32), dtype=np.uint32)
    residues[...] = np.array(primes, dtype=np.uint32)[:, None] - 1
    tiles = tile(residues)
    products = multiply_add_products([tiles] * probes, [dense(tiles)] * segments, primes, 32)
    for limb, q in enumerate(primes):
        square = (q - 1) * (q - 1)
        assert set(np.unique(products[:, :, 0, limb])) == {3000 * square % q}
        assert set(np.unique(products[:, :, 1, limb])) == {6000 * square % q}
        assert set(np.unique(products[:, :, 2, limb])) == {3000 * square % q}


@pytest.mark.parametrize(("name", "coordinates"), [("ckks-packed-128", 4096), ("ckks-packed-exact", 4100)])
def test_weights_of_the_largest_size_do_not_overflow(name: str, coordinates: int) -> None:
    profile = packed_profile(name)
    primes = profile.data_primes[: profile.segment_limbs]
    residues = np.empty((coordinates, 2, len(primes), 32), dtype=np.uint32)
    residues[...] = np.array(primes, dtype=np.uint32)[:, None] - 1
    weights = np.empty((2, len(primes), BLOCK * block_count(coordinates)), dtype=np.uint64)
    weights[...] = np.array(primes, dtype=np.uint64)[:, None] - 1
    sums = weighed_sums(weights, [dense(tile(residues))], primes, 32)
    for limb, q in enumerate(primes):
        assert set(np.unique(sums[:, :, :, limb])) == {coordinates * (q - 1) * (q - 1) % q}
