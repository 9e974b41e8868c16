"""Encrypted scores are within their profile's bound of float64, and rank as float64 does."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.crypto.packed.conftest import Keyring, unit_vectors
from tests.unit.crypto.packed.scores import PROFILES, bulk_segment, error_bound, found_scores, true_scores
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.packed.profiles import packed_profile

PAIRS = 100_000
DIMENSION = 64


def with_mates(probes: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Random references (count, d), of which the first ten per probe have cosines of 0.95, 0.93 ... 0.77 with it."""
    references = unit_vectors(count, probes.shape[1], 1)
    for p, probe in enumerate(probes):
        for k in range(10):
            other = references[10 * p + k]
            other = other - (other @ probe) * probe
            cosine = 0.95 - 0.02 * k
            references[10 * p + k] = cosine * probe + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other)
    return references


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("name", PROFILES)
def test_a_hundred_thousand_scores_are_within_the_bound_and_the_best_ten_rank_as_in_float64(
    name: str, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    key, space = keyring(name), TemplateSpace(DIMENSION, metric)
    n = key.profile.degree
    probes = unit_vectors(-(-PAIRS // n), DIMENSION, 2)
    references = with_mates(probes, n)
    expected = np.array([true_scores(references, probe, metric) for probe in probes])
    found = found_scores(key, bulk_segment(key, references, space), probes, space, n)
    assert found.size >= PAIRS
    assert np.abs(found - expected).max() < error_bound(key.profile, metric)
    sign = -1 if metric is Metric.COSINE else 1
    best = np.argsort(sign * expected, axis=1)[:, :10]
    assert np.array_equal(np.argsort(sign * found, axis=1)[:, :10], best)


@pytest.mark.parametrize("name", PROFILES)
def test_no_bound_on_a_cosine_is_above_a_thousandth(name: str) -> None:
    profile = packed_profile(name)
    assert 0 < profile.cosine_error <= 1e-3
    assert profile.squared_euclidean_error <= (1e-3 if profile.integer_norm is None else 3e-3)


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "ckks-packed-exact"])
def test_noise_does_not_add_up_where_templates_have_much_in_common(
    name: str, keyring: Callable[[str], Keyring]
) -> None:
    """Embeddings of faces share a strong mean. Noise that is the same in every slot would add up over it.

    Independent noise comes from three roundings and is the same whatever the templates are. With a ternary secret s,
    a rescaled ciphertext is off by sqrt(n / 18) per coefficient, a bulk encryption by 3.24 sqrt(4n / 3), and the
    last rescale of three polynomials by n sqrt(2 / 27), because every product of s^2 occurs twice.
    """
    key = keyring(name)
    profile, n = key.profile, key.profile.degree
    space = TemplateSpace(64)
    vectors = 4.0 * unit_vectors(1, 64, 12) + unit_vectors(n, 64, 13)
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    found = found_scores(key, bulk_segment(key, vectors, space), vectors[:8], space, n)
    errors = found - vectors[:8] @ vectors.T
    probe = np.sqrt(n) * np.sqrt(n / 18) / (15 / 16 * 2.0**profile.probe_log_scale)
    reference = 3.24 * np.sqrt(4 * n / 3) / 2.0**profile.segment_log_scale
    last = n * np.sqrt(2 / 27) / (15 / 16 * 2.0 ** (profile.probe_log_scale + profile.segment_log_scale - 26))
    expected = np.sqrt(probe**2 + reference**2 + last**2)
    assert np.abs(errors).max() < profile.cosine_error
    assert 0.7 * expected < np.sqrt(np.mean(np.square(errors))) < 1.5 * expected


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("angle", [0.0, np.pi])
def test_the_largest_and_the_smallest_score_do_not_wrap_around(
    angle: float, name: str, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    """Norms may be 1.001 on both sides; such a score is the farthest from the middle of what a limb can hold."""
    key, space = keyring(name), TemplateSpace(2, metric)
    probe = 1.0009 * np.array([1.0, 0.0])
    reference = 1.0009 * np.array([np.cos(angle), np.sin(angle)])
    segment = key.comparer.new_segment(space)
    template = key.encryptor.encrypt(reference, space, TemplateUse.REFERENCE)
    segment.add(template, 0)
    expected = true_scores(reference[None], probe, metric)
    assert found_scores(key, segment, probe[None], space, 1)[0] == pytest.approx(expected, abs=5e-3)
    ciphertext = key.encryptor.encrypt(probe, space, TemplateUse.PROBE)
    score = key.decrypter.decrypt(key.comparer.compare(template, ciphertext, space), space, 1)
    assert score == pytest.approx(expected, abs=5e-3)
