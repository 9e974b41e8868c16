"""Enrolled and bulk encrypted segments hold the residues that SEAL's operations and the definition give."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.crypto.packed.conftest import Keyring, make_oracle, unit_vectors
from tests.unit.crypto.packed.tiles import dense, tile
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed import bulk, seal, wire
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.ring import U64, prime_ring
from veilface.crypto.public.packed.segment import PackedSegment, coefficient_positions
from veilface.crypto.public.packed.transform import to_ntt


@pytest.mark.parametrize("name", ["ckks-packed-128", "ckks-packed-exact"])
def test_enrolled_templates_are_seals_expansions_shifted_to_their_slots_and_added(name: str) -> None:
    """Slots 0, 1 and 2 stack into one expansion; the last slot has one of its own."""
    seal_side = make_oracle(name)
    profile, space = seal_side.profile, TemplateSpace(13)
    rng = np.random.default_rng(1)
    slots = [0, 1, 2, profile.degree - 1]
    templates = [seal_side.random_residues(2, profile.template_limbs, rng) for _ in slots]
    segment = PackedSegment(space, seal_side.evaluation_keys)
    segment.add_many([wire.write_template(profile, 13, TemplateUse.REFERENCE, each) for each in templates], slots)

    positions = coefficient_positions(np.array(slots), 13, profile.degree)
    assert len({int(position) % 16 for position in positions}) == 2
    stacks: dict[int, Any] = {}
    for template, position in zip(templates, positions, strict=True):
        shift = int(position) % 16
        term = seal_side.ciphertext(seal_side.shift(template, int(position) - shift))
        if shift in stacks:
            seal_side.evaluator.add_inplace(stacks[shift], term)
        else:
            stacks[shift] = term
    primes = np.array(profile.data_primes[: profile.segment_limbs], dtype=np.uint64)[:, None]
    expected: U64 = np.zeros((13, 2, profile.segment_limbs, profile.degree), dtype=np.uint64)
    for shift, stack in stacks.items():
        leaves = seal_side.expand(seal.ciphertext_residues(stack), 13, profile.segment_log_scale)
        expected += np.stack([seal_side.shift(leaf, shift) for leaf in leaves])
    assert np.array_equal(segment.tiles, dense(tile((expected % primes).astype(np.uint32))))


def signed_bits(words: U64) -> NDArray[np.int64]:
    """The weight of the lowest 21 bits minus that of the next 21."""
    bits = np.unpackbits(words[:, None].view(np.uint8), axis=1, bitorder="little").astype(np.int64)
    difference: NDArray[np.int64] = bits[:, :21].sum(axis=1) - bits[:, 21:42].sum(axis=1)
    return difference


@pytest.mark.parametrize("name", ["ckks-packed-128", "ckks-packed-exact"])
def test_a_bulk_encryption_is_public_key_times_ternary_plus_errors_plus_message(
    name: str, keyring: Callable[[str], Keyring], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keyring(name)
    profile, space = key.profile, TemplateSpace(5)
    n, limbs = profile.degree, profile.segment_limbs
    words = np.random.default_rng(2).integers(0, 2**64, 16 * n * 3, dtype=np.uint64)
    monkeypatch.setattr(bulk, "_random_words", lambda count: words[:count])
    vectors = unit_vectors(20, 5, 3)
    data = SegmentEncryptor(key.material).encrypt(vectors, space)

    public, _ = seal.read_ciphertext(seal.unwrap(key.material.public_key[wire.HEADER_BYTES :]))
    scale = 2.0 ** (profile.segment_log_scale + 26) / profile.data_primes[limbs] / (profile.integer_norm or 1)
    values = np.rint(vectors * profile.integer_norm) if profile.integer_norm else vectors
    positions = coefficient_positions(np.arange(20), 5, n)
    by_lane = words.reshape(n, 16, 3)
    expected = np.empty((5, 2, limbs, n), dtype=np.uint32)
    for j in range(5):
        ternary = ((by_lane[:, j, 0] >> np.uint64(32)) * np.uint64(3) >> np.uint64(32)).astype(np.int64) - 1
        errors = [signed_bits(np.ascontiguousarray(by_lane[:, j, index])) for index in (1, 2)]
        errors[0][positions] += np.rint(values[:, j] * scale).astype(np.int64)
        for limb in range(limbs):
            q = profile.data_primes[limb]
            ring = prime_ring(q, n)
            u, *e = (to_ntt(np.mod(each, q).astype(np.uint32), ring).astype(np.uint64) for each in (ternary, *errors))
            for polynomial in range(2):
                expected[j, polynomial, limb] = (public[polynomial, limb] * u + e[polynomial]) % np.uint64(q)
    assert np.array_equal(np.frombuffer(data[wire.HEADER_BYTES :], dtype="<u8"), dense(tile(expected)).reshape(-1))
