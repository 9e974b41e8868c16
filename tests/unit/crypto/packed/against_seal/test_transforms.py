"""Encoding, the transforms and the division of one polynomial give the residues that SEAL gives, bit for bit."""

from collections.abc import Callable

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.crypto.packed.conftest import Oracle, make_oracle
from veilface.crypto.public.packed import seal
from veilface.crypto.public.packed.encrypt import encode
from veilface.crypto.public.packed.ring import prime_ring
from veilface.crypto.public.packed.scores import divide_to, to_coefficients
from veilface.crypto.public.packed.transform import from_ntt, to_ntt

PROFILES = ["ckks-packed-128", "ckks-packed-256", "ckks-packed-exact"]


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


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(PROFILES),
    polynomials=st.integers(2, 3),
    dropped=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_dividing_limbs_away_equals_seals_rescale(name: str, polynomials: int, dropped: int, seed: int) -> None:
    seal_side = make_oracle(name)
    profile, limbs = seal_side.profile, seal_side.profile.template_limbs
    residues = seal_side.random_residues(polynomials, limbs, np.random.default_rng(seed))
    theirs = seal_side.ciphertext(residues, 2.0**60)
    for _ in range(dropped):
        seal_side.evaluator.rescale_to_next_inplace(theirs)
    ours = divide_to(to_coefficients(residues, profile), limbs - dropped, profile)
    assert np.array_equal(to_coefficients(seal.ciphertext_residues(theirs), profile), ours)
