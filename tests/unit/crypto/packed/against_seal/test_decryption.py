"""Decryption gives what SEAL's Decryptor gives, bit for bit."""

import numpy as np
import tenseal.sealapi as sealapi
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.crypto.packed.conftest import make_oracle
from veilface.crypto.public.packed import seal
from veilface.crypto.public.packed.ring import prime_ring
from veilface.crypto.public.packed.transform import from_ntt


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(["ckks-packed-128", "ckks-packed-256", "ckks-packed-exact"]),
    polynomials=st.integers(2, 3),
    limbs=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_decryption_equals_seals(name: str, polynomials: int, limbs: int, seed: int) -> None:
    seal_side = make_oracle(name)
    profile = seal_side.profile
    residues = seal_side.random_residues(polynomials, limbs, np.random.default_rng(seed))
    plaintext = sealapi.Plaintext()
    seal_side.decryptor.decrypt(seal_side.ciphertext(residues), plaintext)
    theirs = seal.plaintext_residues(plaintext, limbs, profile.degree)
    for limb in range(limbs):
        ring = prime_ring(profile.data_primes[limb], profile.degree)
        second = residues[2, limb] if polynomials == 3 else np.zeros_like(residues[1, limb])
        constant = from_ntt(residues[0, limb].copy(), ring).astype(np.int64)
        ours = (constant + seal_side.secret.multiply(residues[1, limb], second, limb)) % ring.prime
        assert np.array_equal(from_ntt(theirs[limb].copy(), ring), ours)
