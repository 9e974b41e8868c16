"""`ckks-packed-exact`: rounded scores are the integer scores of rounded embeddings, with many deviations to spare."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.crypto.packed.conftest import Keyring, make_keyring, unit_vectors
from tests.unit.crypto.packed.scores import answers_of, bulk_segment
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.profiles import CKKS_PACKED_EXACT
from veilface.crypto.public.packed.segment import PackedSegment, segment_ciphertexts
from veilface.crypto.public.packed.space import coordinates
from veilface.crypto.secret.packed.ring_secret import RingSecret

NORM = 2048
MIN_MARGIN_SIGMA = 8.0


def integer_embeddings(vectors: NDArray[np.float64], metric: Metric) -> NDArray[np.int64]:
    """The embeddings as the profile rounds them: the first coordinates of a probe."""
    rounded = coordinates(vectors, TemplateSpace(vectors.shape[1], metric), TemplateUse.PROBE, CKKS_PACKED_EXACT)
    return rounded[:, : vectors.shape[1]].astype(np.int64)


def integer_scores(references: NDArray[np.float64], probe: NDArray[np.float64], metric: Metric) -> NDArray[np.int64]:
    """The scores times NORM^2, in integers."""
    g = integer_embeddings(references, metric)
    (q,) = integer_embeddings(probe[None], metric)
    scores: NDArray[np.int64] = g @ q if metric is Metric.COSINE else ((g - q) ** 2).sum(axis=1)
    return scores


@given(seed=st.integers(0, 2**32 - 1), dimension=st.integers(1, 200), length=st.floats(0, 1))
def test_embeddings_are_rounded_to_the_nearest_integers_with_an_even_sum(
    seed: int, dimension: int, length: float
) -> None:
    vectors = length * unit_vectors(3, dimension, seed)
    plain = np.rint(vectors * NORM)
    rounded = integer_embeddings(vectors, Metric.SQUARED_EUCLIDEAN)
    assert not (rounded.sum(axis=1) % 2).any()
    assert not ((rounded**2).sum(axis=1) % 2).any()
    changed = np.abs(rounded - plain)
    assert np.array_equal(changed.sum(axis=1), plain.sum(axis=1) % 2)
    assert np.abs(rounded - vectors * NORM).max() <= 1.0
    assert np.array_equal(integer_embeddings(rounded / NORM, Metric.SQUARED_EUCLIDEAN), rounded)


@given(seed=st.integers(0, 2**32 - 1), dimension=st.integers(1, 200), lengths=st.tuples(*[st.floats(0, 1)] * 2))
def test_the_inner_product_of_coordinates_is_half_the_integer_distance_and_no_side_is_long(
    seed: int, dimension: int, lengths: tuple[float, float]
) -> None:
    space = TemplateSpace(dimension, Metric.SQUARED_EUCLIDEAN)
    vectors = np.array(lengths)[:, None] * unit_vectors(2, dimension, seed)
    (g,) = coordinates(vectors[:1], space, TemplateUse.REFERENCE, CKKS_PACKED_EXACT)
    (q,) = coordinates(vectors[1:], space, TemplateUse.PROBE, CKKS_PACKED_EXACT)
    (distance,) = integer_scores(vectors[:1], vectors[1], Metric.SQUARED_EUCLIDEAN)
    assert 2 * int(g @ q) == distance - 2 * NORM**2
    assert max(np.linalg.norm(g), np.linalg.norm(q)) < 1.15 * NORM + np.sqrt(dimension)


@pytest.mark.parametrize("metric", list(Metric))
def test_exact_scores_equal_the_integer_scores(metric: Metric, keyring: Callable[[str], Keyring]) -> None:
    key, space = keyring("ckks-packed-exact"), TemplateSpace(128, metric)
    n = key.profile.degree
    vectors = unit_vectors(n, 128, 4)
    if metric is Metric.SQUARED_EUCLIDEAN:
        vectors *= np.random.default_rng(5).uniform(0, 1, (n, 1))
    segment = bulk_segment(key, vectors, space)
    for index, answer in zip((5, 6), answers_of(key, segment, vectors[5:7], space, n), strict=True):
        found = key.decrypter.decrypt(answer, space, n) * NORM**2
        assert np.array_equal(found, integer_scores(vectors, vectors[index], metric))


def assert_margin(key: Keyring, dimension: int, metric: Metric) -> None:
    """The noise before rounding leaves at least eight standard deviations to half a unit.

    About zero, not about its mean: coordinates that all references share give neighbouring slots similar noise.
    """
    space, n = TemplateSpace(dimension, metric), key.profile.degree
    vectors = unit_vectors(n, dimension, dimension)
    (answer,) = answers_of(key, bulk_segment(key, vectors, space), vectors[:1], space, n)
    units = key.decrypter.inner_products(answer, space, n) * NORM**2
    scores = integer_scores(vectors, vectors[0], metric)
    noise = units - (scores if metric is Metric.COSINE else scores / 2 - NORM**2)
    assert 0.5 / np.sqrt(np.mean(np.square(noise))) > MIN_MARGIN_SIGMA


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dimension", [64, 512])
def test_the_noise_of_a_search_leaves_eight_standard_deviations(
    dimension: int, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    assert_margin(keyring("ckks-packed-exact"), dimension, metric)


@pytest.mark.parametrize("metric", list(Metric))
def test_the_margin_is_not_the_luck_of_one_key(metric: Metric) -> None:
    for _ in range(3):
        assert_margin(make_keyring.__wrapped__("ckks-packed-exact"), 64, metric)


@pytest.mark.full
@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dimension", [1024, 2048, 4096])
def test_large_models_have_the_same_margin(dimension: int, metric: Metric, keyring: Callable[[str], Keyring]) -> None:
    assert_margin(keyring("ckks-packed-exact"), dimension, metric)


def test_an_enrollment_adds_the_noise_of_one_rescale_so_that_thousands_of_them_keep_the_margin(
    keyring: Callable[[str], Keyring],
) -> None:
    """sqrt(n / 18) per coefficient. A segment of n templates, enrolled one by one, has n of these."""
    key, space = keyring("ckks-packed-exact"), TemplateSpace(16)
    profile, n = key.profile, key.profile.degree
    segment = key.comparer.new_segment(space)
    assert isinstance(segment, PackedSegment)
    (vector,) = unit_vectors(1, 16, 6)
    segment.add(key.encryptor.encrypt(vector, space, TemplateUse.REFERENCE), 0)
    secret = RingSecret(profile, key.secret_key)
    noise = []
    for ciphertext in segment_ciphertexts(profile, segment.tiles, 0):
        noise.append(secret.decrypt(ciphertext)[1:])
    deviation = np.std(noise)
    assert deviation == pytest.approx(np.sqrt(n / 18), rel=0.1)

    unit = 2.0 ** (profile.probe_log_scale + profile.segment_log_scale) / NORM**2
    enrolled = deviation * np.sqrt(n) * 2.0**profile.probe_log_scale
    probe = deviation * np.sqrt(n) * 2.0**profile.segment_log_scale
    longest_side = 1.15
    assert 0.5 * unit / (longest_side * np.hypot(enrolled, probe)) > MIN_MARGIN_SIGMA


def test_exact_scores_are_the_same_under_every_key_and_every_way(keyring: Callable[[str], Keyring]) -> None:
    """Bulk or enrolled, searched or compared, encrypted probe or plain: the same number, to the last bit."""
    space = TemplateSpace(100, Metric.SQUARED_EUCLIDEAN)
    vectors = unit_vectors(3, 100, 7)
    expected = integer_scores(vectors[:2], vectors[2], space.metric) / NORM**2
    for key in (keyring("ckks-packed-exact"), make_keyring.__wrapped__("ckks-packed-exact")):
        references = [key.encryptor.encrypt(row, space, TemplateUse.REFERENCE) for row in vectors[:2]]
        enrolled = key.comparer.new_segment(space)
        enrolled.add_many(references, [0, 1])
        for use in (TemplateUse.PROBE, TemplateUse.PLAINTEXT_PROBE):
            probe = key.encryptor.encrypt(vectors[2], space, use)
            prepared = key.comparer.prepare_probe(probe, space, use)
            segments = [enrolled, bulk_segment(key, vectors[:2], space)]
            for answer in key.comparer.search(prepared, segments, [np.arange(2)] * 2):
                assert np.array_equal(key.decrypter.decrypt(answer, space, 2), expected)
            for reference, score in zip(references, expected, strict=True):
                answer = key.comparer.compare(reference, probe, space)
                assert key.decrypter.decrypt(answer, space, 1)[0] == score
    assert wire.is_of_kind(answer, wire.Kind.WEIGHED_VERIFY_SCORE)
