"""The expansion gives the residues of the same tree walked with SEAL's Evaluator, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.crypto.packed.conftest import make_oracle
from tests.unit.crypto.packed.tiles import tile
from veilface.crypto.public.packed.expand import expand, split_level, split_level_threaded

PROFILES = ["ckks-packed-128", "ckks-packed-256", "ckks-packed-exact"]


@settings(max_examples=16, deadline=None)
@given(
    name=st.sampled_from(PROFILES),
    from_the_top=st.integers(0, 12),
    threaded=st.booleans(),
    lane=st.integers(0, 15),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_level_equals_seals_automorphism_sum_and_shifted_difference(
    name: str, from_the_top: int, threaded: bool, lane: int, seed: int
) -> None:
    seal_side = make_oracle(name)
    profile = seal_side.profile
    level = len(seal_side.elements) - 1 - min(from_the_top, len(seal_side.elements) - 1)
    rng = np.random.default_rng(seed)
    original = seal_side.random_residues(2, profile.template_limbs, rng)
    state = np.ascontiguousarray(np.repeat(original[..., None], 16, axis=-1))
    state[..., (lane + 1) % 16] = 1
    odd = np.empty_like(state)
    (split_level_threaded if threaded else split_level)(state, odd, level, seal_side.evaluation_keys)

    even, difference = seal_side.split(original, level)
    assert np.array_equal(even, state[..., lane])
    assert np.array_equal(difference, odd[..., lane])
    assert not np.array_equal(even, state[..., (lane + 1) % 16])


# 1: no level; 13: fewer ciphertexts than lanes; 16: one chunk; 100 of 128: threaded levels, then subtrees, the last
# chunk partly and the one after it not wanted.
@pytest.mark.parametrize(
    ("name", "coordinates", "reverse"),
    [
        ("ckks-packed-128", 1, False),
        ("ckks-packed-128", 13, True),
        ("ckks-packed-128", 16, False),
        ("ckks-packed-128", 100, True),
        ("ckks-packed-256", 32, True),
        ("ckks-packed-exact", 32, False),
    ],
)
def test_a_whole_expansion_equals_seals(name: str, coordinates: int, reverse: bool) -> None:
    seal_side = make_oracle(name)
    profile = seal_side.profile
    template = seal_side.random_residues(2, profile.template_limbs, np.random.default_rng(coordinates))
    expected = seal_side.expand(template, coordinates, profile.probe_log_scale)
    ours = expand(template, coordinates, seal_side.evaluation_keys, profile.probe_log_scale, reverse=reverse)
    assert np.array_equal(ours, tile(expected[::-1] if reverse else expected))


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_the_number_of_threads_changes_nothing(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seal_side = make_oracle("ckks-packed-128")
    profile = seal_side.profile
    template = seal_side.random_residues(2, profile.template_limbs, np.random.default_rng(7))
    expected = expand(template, 128, seal_side.evaluation_keys, profile.probe_log_scale)
    monkeypatch.setenv("VEILFACE_CRYPTO_THREADS", threads)
    assert np.array_equal(expand(template, 128, seal_side.evaluation_keys, profile.probe_log_scale), expected)
