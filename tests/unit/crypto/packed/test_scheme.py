"""Encrypted scores agree with float64 in every profile, dimension and metric; nothing but scores can be decrypted."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.crypto.packed.conftest import Keyring, unit_vectors
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.profiles import CKKS_PACKED_128, PackedProfile
from veilface.crypto.public.packed.scores import read_scores, search_format
from veilface.crypto.secret.packed.keyset import read_secret

PROFILES = ["ckks-packed-128", "ckks-packed-192", "ckks-packed-256", "ckks-packed-exact"]


def true_scores(references: NDArray[np.float64], probe: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    if metric is Metric.COSINE:
        return references @ probe
    return ((references - probe) ** 2).sum(axis=1)


def tolerance(profile: PackedProfile, metric: Metric) -> float:
    """1e-3 of cosine. A squared distance is 2 - 2 cos, so its error is twice as large; integers quantise it further."""
    if metric is Metric.COSINE:
        return 1e-3
    return 4e-3 if profile.integer_norm else 2e-3


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dimension", [64, 128, 512, 1000])
@pytest.mark.parametrize("name", PROFILES)
def test_scores_agree_with_float64(
    name: str, dimension: int, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    if dimension == 1000 and name not in ("ckks-packed-128", "ckks-packed-256"):
        dimension = 130
    key = keyring(name)
    space = TemplateSpace(dimension, metric)
    n = key.profile.degree
    bulk = unit_vectors(n - 6, dimension, 1)
    enrolled = unit_vectors(6, dimension, 2)
    if metric is Metric.SQUARED_EUCLIDEAN:
        bulk *= 0.9
    everyone = np.concatenate([bulk, enrolled])
    probe = everyone[10] + 0.4 * everyone[n - 2]
    probe /= np.linalg.norm(probe)

    segment = key.comparer.segment_from_bytes(SegmentEncryptor(key.material).encrypt(bulk, space), space)
    references = [key.encryptor.encrypt(row, space, TemplateUse.REFERENCE) for row in enrolled]
    segment.add_many(references, list(range(n - 6, n)))
    probe_bytes = key.encryptor.encrypt(probe, space, TemplateUse.PROBE)
    (answer,) = key.comparer.search(key.comparer.prepare_probe(probe_bytes, space), [segment], [np.arange(n)])
    found = key.decrypter.decrypt(answer, space, n)
    expected = true_scores(everyone, probe, metric)
    assert np.abs(found - expected).max() < tolerance(key.profile, metric)
    best = np.argmax(expected) if metric is Metric.COSINE else np.argmin(expected)
    assert (np.argmax(found) if metric is Metric.COSINE else np.argmin(found)) == best

    one_to_one = key.decrypter.decrypt(key.comparer.compare(references[4], probe_bytes, space), space, 1)
    assert abs(one_to_one[0] - expected[n - 2]) < tolerance(key.profile, metric)


@pytest.mark.parametrize("dimension", [2047, 4096])
def test_the_largest_models_fit_the_default_profile(dimension: int, keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(dimension)
    references = unit_vectors(3, dimension, 3)
    segment = key.comparer.new_segment(space)
    segment.add_many([key.encryptor.encrypt(row, space, TemplateUse.REFERENCE) for row in references], [0, 1, 2])
    probe = key.encryptor.encrypt(references[1], space, TemplateUse.PROBE)
    (answer,) = key.comparer.search(key.comparer.prepare_probe(probe, space), [segment], [np.arange(3)])
    assert np.abs(key.decrypter.decrypt(answer, space, 3) - references @ references[1]).max() < 1e-3


def test_exact_scores_equal_the_integer_dot_product(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-exact")
    space = TemplateSpace(128)
    n, norm = key.profile.degree, key.profile.integer_norm
    assert norm is not None
    vectors = unit_vectors(n, 128, 4)
    segment = key.comparer.segment_from_bytes(SegmentEncryptor(key.material).encrypt(vectors, space), space)
    probe = key.encryptor.encrypt(vectors[5], space, TemplateUse.PROBE)
    (answer,) = key.comparer.search(key.comparer.prepare_probe(probe, space), [segment], [np.arange(n)])
    integers = np.rint(vectors * norm).astype(np.int64)
    found = np.rint(key.decrypter.decrypt(answer, space, n) * norm * norm).astype(np.int64)
    assert np.array_equal(found, integers @ integers[5])


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
    one, other = (np.frombuffer(bulk.encrypt(vector[None], space)[32:], "<u4") for _ in "ab")
    assert (one == other).mean() < 1e-4


def test_bulk_noise_has_the_standard_deviation_that_is_documented(keyring: Callable[[str], Keyring]) -> None:
    """e0 + e1 s + e u over one limb: 3.24 * sqrt(1 + n 2/3 + n 2/3)."""
    from veilface.crypto.public.packed.ring import prime_ring
    from veilface.crypto.public.packed.transform import from_ntt, to_ntt

    key = keyring("ckks-packed-128")
    profile = key.profile
    space = TemplateSpace(64)
    data = SegmentEncryptor(key.material).encrypt(np.eye(64)[:1], space)
    tiles = np.frombuffer(data[32:], "<u4").reshape(-1, 64, 2, 32)
    prime = profile.data_primes[0]
    ring = prime_ring(prime, profile.degree)
    secret = to_ntt(np.mod(read_secret(profile, key.secret_key).astype(np.int64), prime).astype(np.uint32), ring)
    noise = []
    for j in range(1, 64):
        c0, c1 = (tiles[: profile.degree // 32, j, p].reshape(-1).astype(np.uint64) for p in (0, 1))
        plain = from_ntt(((c0 + c1 * secret % prime) % prime).astype(np.uint32), ring).astype(np.int64)
        noise.append((plain + prime // 2) % prime - prime // 2)
    expected = 3.24 * np.sqrt(1 + profile.degree * 4 / 3)
    assert np.std(np.array(noise)) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"security_bits": 192}, Reason.INSECURE_PARAMETERS),
        ({"security_bits": 100}, Reason.INSECURE_PARAMETERS),
        ({"degree": 2048}, Reason.INSECURE_PARAMETERS),
    ],
)
def test_parameters_below_their_security_level_are_refused(changes: dict[str, int], reason: Reason) -> None:
    from dataclasses import replace

    assert replace(CKKS_PACKED_128, name="copy").security_bits == 128
    with pytest.raises(InvalidArgumentError) as caught:
        replace(CKKS_PACKED_128, **changes)  # type: ignore[arg-type]
    assert caught.value.reason is reason


@pytest.mark.parametrize("name", PROFILES)
def test_seal_accepts_every_profile_at_its_security_level(name: str) -> None:
    from veilface.crypto.public.packed.profiles import packed_profile
    from veilface.crypto.public.packed.seal import seal_context

    context = seal_context(packed_profile(name))
    assert context.context.parameters_set()


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


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("name", PROFILES)
def test_a_plaintext_probe_gives_the_same_scores_in_a_smaller_answer(
    name: str, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    key = keyring(name)
    space = TemplateSpace(100, metric)
    n = key.profile.degree
    vectors = unit_vectors(n, 100, 11)
    bulk = SegmentEncryptor(key.material)
    segments = [key.comparer.segment_from_bytes(bulk.encrypt(vectors, space), space) for _ in range(3)]
    slots = [np.arange(n), np.arange(5), np.array([7])]
    plain = key.encryptor.encrypt(vectors[7], space, TemplateUse.PLAINTEXT_PROBE)
    prepared = key.comparer.prepare_probe(plain, space, TemplateUse.PLAINTEXT_PROBE)
    answers = key.comparer.search(prepared, segments, slots)
    expected = true_scores(vectors, vectors[7], metric)
    for answer, occupied in zip(answers, slots, strict=True):
        found = key.decrypter.decrypt(answer, space, occupied.size)
        assert np.abs(found - expected[occupied]).max() < tolerance(key.profile, metric)
    encrypted = key.comparer.prepare_probe(key.encryptor.encrypt(vectors[7], space, TemplateUse.PROBE), space)
    assert len(answers[0]) < 0.7 * len(key.comparer.search(encrypted, segments[:1], slots[:1])[0])


def test_plaintext_weights_of_the_largest_size_do_not_overflow() -> None:
    from veilface.crypto.public.packed.kernels.multiply_add import LANES, SCRATCH, weigh
    from veilface.crypto.public.packed.ring import addresses, reduction_constants

    primes = CKKS_PACKED_128.data_primes[:2]
    degree, count = CKKS_PACKED_128.degree, 4096
    weights = np.array([[q - 1] * count for q in primes], dtype=np.uint64)
    tiles = np.empty((2 * degree // LANES, count, 2, LANES), dtype=np.uint32)
    tiles[: degree // LANES], tiles[degree // LANES :] = primes[0] - 1, primes[1] - 1
    out = np.empty((1, 2, 2 * degree), dtype=np.uint32)
    weigh(
        weights,
        addresses([tiles]),
        count,
        0,
        len(tiles),
        degree // LANES,
        reduction_constants(primes),
        np.empty(SCRATCH, dtype=np.uint64),
        out,
    )
    for limb, q in enumerate(primes):
        assert set(np.unique(out[0, :, limb * degree : (limb + 1) * degree])) == {count * (q - 1) * (q - 1) % q}


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "ckks-packed-exact"])
def test_noise_does_not_add_up_where_templates_have_much_in_common(
    name: str, keyring: Callable[[str], Keyring]
) -> None:
    """Embeddings of faces share a strong mean. Noise that is the same in every slot would add up over it.

    Independent noise has a root mean square of 1.76e-8 n, whatever the templates are. (Expansions whose last levels
    come after the rescale showed three times that and more, under every key of sixteen.)
    """
    key = keyring(name)
    space = TemplateSpace(64)
    n = key.profile.degree
    vectors = 4.0 * unit_vectors(1, 64, 12) + unit_vectors(n, 64, 13)
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    segment = key.comparer.segment_from_bytes(SegmentEncryptor(key.material).encrypt(vectors, space), space)
    errors = []
    for vector in vectors[:8]:
        probe = key.comparer.prepare_probe(key.encryptor.encrypt(vector, space, TemplateUse.PROBE), space)
        (answer,) = key.comparer.search(probe, [segment], [np.arange(n)])
        errors.append(key.decrypter.decrypt(answer, space, n) - vectors @ vector)
    assert np.abs(errors).max() < 1e-3
    assert np.sqrt(np.mean(np.square(errors))) < 1.6 * 1.76e-8 * n
