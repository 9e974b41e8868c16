"""Segments and answers: what is in them, what is not, and how large they are."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.crypto.packed.conftest import Keyring, unit_vectors
from tests.unit.crypto.packed.tiles import segment_residues
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.scores import read_scores, search_format
from veilface.crypto.secret.packed.keyset import read_secret


def test_deleted_and_unused_slots_are_not_in_the_answer(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(64)
    vectors = unit_vectors(3, 64, 5)
    references = [key.encryptor.encrypt(row, space, TemplateUse.REFERENCE) for row in vectors]
    segment = key.comparer.new_segment(space)
    segment.add_many(references, [0, 1, 2])
    prepared = key.comparer.prepare_probe(key.encryptor.encrypt(vectors[1], space, TemplateUse.PROBE), space)
    (before,) = key.comparer.search(prepared, [segment], [np.array([0, 1, 2])])
    assert key.decrypter.decrypt(before, space, 3)[1] == pytest.approx(1.0, abs=1e-3)

    segment.subtract(references[1], 1)
    (after,) = key.comparer.search(prepared, [segment], [np.array([0, 2])])
    assert np.abs(key.decrypter.decrypt(after, space, 2) - (vectors @ vectors[1])[[0, 2]]).max() < 1e-3
    scores, _, positions = read_scores(after, 64, 2, search_format(key.profile), key.profile)
    assert scores.shape == (1, 2)
    assert positions.size == 2
    (anyway,) = key.comparer.search(prepared, [segment], [np.array([1])])
    assert abs(key.decrypter.decrypt(anyway, space, 1)[0]) < 1e-3


def test_the_unscored_coefficients_of_a_comparison_are_not_sent(keyring: Callable[[str], Keyring]) -> None:
    """The product holds the whole cross-correlation of the embeddings; the answer holds one coefficient of it."""
    key = keyring("ckks-packed-128")
    space = TemplateSpace(128)
    one, other = unit_vectors(2, 128, 6)
    answer = key.comparer.compare(
        key.encryptor.encrypt(one, space, TemplateUse.REFERENCE),
        key.encryptor.encrypt(other, space, TemplateUse.PROBE),
        space,
    )
    residues = 2 * (1 + 2 * key.profile.degree)
    assert len(answer) == 32 + -(-residues * 26 // 8)


def test_enrolling_one_by_one_and_together_give_the_same_segment(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(100)
    vectors = unit_vectors(4, 100, 7)
    references = [key.encryptor.encrypt(row, space, TemplateUse.REFERENCE) for row in vectors]
    together, apart = key.comparer.new_segment(space), key.comparer.new_segment(space)
    together.add_many(references, [0, 1, 2, 3])
    for slot, reference in enumerate(references):
        apart.add(reference, slot)
    prepared = key.comparer.prepare_probe(key.encryptor.encrypt(vectors[2], space, TemplateUse.PROBE), space)
    answers = key.comparer.search(prepared, [together, apart], [np.arange(4)] * 2)
    scores = [key.decrypter.decrypt(answer, space, 4) for answer in answers]
    assert np.abs(scores[0] - scores[1]).max() < 1e-3
    for slot, reference in enumerate(references):
        apart.subtract(reference, slot)
    assert not apart.tiles.any()


def test_a_search_of_several_probes_equals_one_search_each(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(64)
    vectors = unit_vectors(key.profile.degree, 64, 8)
    bulk = SegmentEncryptor(key.material)
    segments = [key.comparer.segment_from_bytes(bulk.encrypt(vectors, space), space) for _ in range(3)]
    slots = [np.arange(key.profile.degree)] * 3
    probes = [
        key.comparer.prepare_probe(key.encryptor.encrypt(vectors[i], space, TemplateUse.PROBE), space) for i in range(3)
    ]
    together = key.comparer.search_many(probes, segments, slots)
    assert together == [key.comparer.search(probe, segments, slots) for probe in probes]


def test_a_serialized_segment_comes_back_unchanged(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(64)
    data = SegmentEncryptor(key.material).encrypt(unit_vectors(10, 64, 9), space)
    assert key.comparer.segment_from_bytes(data, space).to_bytes() == data


def test_two_encryptions_of_the_same_embedding_share_no_residue_pattern(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(64)
    (vector,) = unit_vectors(1, 64, 10)
    one, other = (np.frombuffer(key.encryptor.encrypt(vector, space, TemplateUse.REFERENCE)[32:], "<u4") for _ in "ab")
    assert int((one == other).sum()) < 10
    bulk = SegmentEncryptor(key.material)
    one, other = (segment_residues(bulk.encrypt(vector[None], space), 64, key.profile) for _ in "ab")
    assert (one == other).mean() < 1e-4


def test_bulk_noise_has_the_standard_deviation_that_is_documented(keyring: Callable[[str], Keyring]) -> None:
    """e0 + e1 s + e u over one limb: 3.24 * sqrt(1 + n 2/3 + n 2/3)."""
    from veilface.crypto.public.packed.ring import prime_ring
    from veilface.crypto.public.packed.transform import from_ntt, to_ntt

    key = keyring("ckks-packed-128")
    profile = key.profile
    space = TemplateSpace(64)
    data = SegmentEncryptor(key.material).encrypt(np.eye(64)[:1], space)
    residues = segment_residues(data, 64, profile)
    prime = profile.data_primes[0]
    ring = prime_ring(prime, profile.degree)
    secret = to_ntt(np.mod(read_secret(profile, key.secret_key).astype(np.int64), prime).astype(np.uint32), ring)
    noise = []
    for j in range(1, 64):
        c0, c1 = residues[j, :, 0].astype(np.uint64)
        plain = from_ntt(((c0 + c1 * secret % prime) % prime).astype(np.uint32), ring).astype(np.int64)
        noise.append((plain + prime // 2) % prime - prime // 2)
    expected = 3.24 * np.sqrt(1 + profile.degree * 4 / 3)
    assert np.std(np.array(noise)) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        (np.ones(63) / np.sqrt(63), Reason.WRONG_DIMENSION),
        (np.ones(64), Reason.EMBEDDING_OUT_OF_RANGE),
        (np.full(64, np.nan), Reason.EMBEDDING_OUT_OF_RANGE),
        (np.full(64, np.inf), Reason.EMBEDDING_OUT_OF_RANGE),
        (np.zeros(64), Reason.EMBEDDING_OUT_OF_RANGE),
    ],
)
def test_embeddings_that_cannot_be_scored_are_refused(
    vector: NDArray[np.float64], reason: Reason, keyring: Callable[[str], Keyring]
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        keyring("ckks-packed-128").encryptor.encrypt(vector, TemplateSpace(64), TemplateUse.PROBE)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("name", "most_bytes"),
    [("ckks-packed-128", 12), ("ckks-packed-192", 12), ("ckks-packed-256", 12), ("ckks-packed-exact", 20)],
)
def test_an_answer_takes_few_bytes_per_score(name: str, most_bytes: int, keyring: Callable[[str], Keyring]) -> None:
    """One limb of three polynomials of 26-bit residues, and two for exact integers."""
    key, space = keyring(name), TemplateSpace(16)
    n = key.profile.degree
    probe = key.encryptor.encrypt(unit_vectors(1, 16, 12)[0], space, TemplateUse.PROBE)
    (answer,) = key.comparer.search(
        key.comparer.prepare_probe(probe, space), [key.comparer.new_segment(space)], [np.arange(n)]
    )
    assert key.decrypter.decrypt(answer, space, n).shape == (n,)
    assert len(answer) / n <= most_bytes


def test_probes_of_both_kinds_do_not_share_a_pass(keyring: Callable[[str], Keyring]) -> None:
    key, space = keyring("ckks-packed-128"), TemplateSpace(16)
    (vector,) = unit_vectors(1, 16, 13)
    encrypted, plain = (
        key.comparer.prepare_probe(key.encryptor.encrypt(vector, space, use), space, use)
        for use in (TemplateUse.PROBE, TemplateUse.PLAINTEXT_PROBE)
    )
    segments, slots = [key.comparer.new_segment(space)], [np.arange(3)]
    assert len(key.comparer.search_many([encrypted, encrypted], segments, slots)) == 2
    assert len(key.comparer.search_many([plain, plain], segments, slots)) == 2
    with pytest.raises(InvalidArgumentError, match="probes of one kind"):
        key.comparer.search_many([encrypted, plain], segments, slots)
