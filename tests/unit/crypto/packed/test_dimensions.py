"""Models of every size are scored in every profile and metric, searched and compared, or refused with the reason."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.crypto.packed.conftest import Keyring, unit_vectors
from tests.unit.crypto.packed.scores import PROFILES, bulk_segment, error_bound, found_scores, true_scores
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dimension", [128, 512])
@pytest.mark.parametrize("name", PROFILES)
def test_a_full_segment_of_imported_and_enrolled_templates_scores_as_float64(
    name: str, dimension: int, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    key, space = keyring(name), TemplateSpace(dimension, metric)
    n = key.profile.degree
    everyone = unit_vectors(n, dimension, 1)
    if metric is Metric.SQUARED_EUCLIDEAN:
        everyone[: n - 6] *= 0.9
    probe = everyone[10] + 0.4 * everyone[n - 2]
    probe /= np.linalg.norm(probe)
    segment = bulk_segment(key, everyone[: n - 6], space)
    references = [key.encryptor.encrypt(row, space, TemplateUse.REFERENCE) for row in everyone[n - 6 :]]
    segment.add_many(references, list(range(n - 6, n)))
    (found,) = found_scores(key, segment, probe[None], space, n)
    expected = true_scores(everyone, probe, metric)
    assert np.abs(found - expected).max() < error_bound(key.profile, metric)


# The number of coordinates that an expansion rounds up to a power of two: from below, at and above one; more than the
# 2048 that are summed without a reduction; all that a ring has.
SIZES = [
    ("ckks-packed-128", 64, Metric.COSINE),
    ("ckks-packed-128", 1000, Metric.SQUARED_EUCLIDEAN),
    ("ckks-packed-128", 2047, Metric.SQUARED_EUCLIDEAN),
    ("ckks-packed-128", 4094, Metric.SQUARED_EUCLIDEAN),
    ("ckks-packed-128", 4096, Metric.COSINE),
    ("ckks-packed-192", 1000, Metric.COSINE),
    ("ckks-packed-256", 4096, Metric.COSINE),
    ("ckks-packed-exact", 64, Metric.SQUARED_EUCLIDEAN),
    ("ckks-packed-exact", 1000, Metric.COSINE),
    ("ckks-packed-exact", 2100, Metric.SQUARED_EUCLIDEAN),
]
LONG_SIZES = [
    ("ckks-packed-192", 4096, Metric.SQUARED_EUCLIDEAN),
    ("ckks-packed-256", 4096, Metric.SQUARED_EUCLIDEAN),
    ("ckks-packed-exact", 4096, Metric.COSINE),
    ("ckks-packed-exact", 4096, Metric.SQUARED_EUCLIDEAN),
]


@pytest.mark.parametrize(
    ("name", "dimension", "metric"), [*SIZES, *(pytest.param(*size, marks=pytest.mark.full) for size in LONG_SIZES)]
)
def test_models_of_every_size_are_searched_and_compared(
    name: str, dimension: int, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    key, space = keyring(name), TemplateSpace(dimension, metric)
    vectors = unit_vectors(3, dimension, 3)
    probe = vectors[1] + 0.5 * vectors[2]
    probe /= np.linalg.norm(probe)
    references = [key.encryptor.encrypt(row, space, TemplateUse.REFERENCE) for row in vectors]
    segment = key.comparer.new_segment(space)
    # Two that stack in one expansion where the ring has room for two; the bulk's first slots.
    segment.add_many(references[:2], [0, 1])
    expected = true_scores(vectors, probe, metric)
    bound = error_bound(key.profile, metric)
    (found,) = found_scores(key, segment, probe[None], space, 2)
    assert np.abs(found - expected[:2]).max() < bound

    for use in (TemplateUse.PROBE, TemplateUse.PLAINTEXT_PROBE):
        ciphertext = key.encryptor.encrypt(probe, space, use)
        score = key.decrypter.decrypt(key.comparer.compare(references[2], ciphertext, space), space, 1)[0]
        assert abs(score - expected[2]) < bound


@pytest.mark.parametrize("dimension", [4095, 4096])
def test_a_ring_of_4096_has_no_room_for_the_coordinates_of_a_distance(
    dimension: int, keyring: Callable[[str], Keyring]
) -> None:
    key, space = keyring("ckks-packed-128"), TemplateSpace(dimension, Metric.SQUARED_EUCLIDEAN)
    (vector,) = unit_vectors(1, dimension, 4)
    assert key.encryptor.encrypt(vector[:4094] * 0.9, TemplateSpace(4094, space.metric), TemplateUse.PROBE)
    for attempt in (
        lambda: key.encryptor.encrypt(vector, space, TemplateUse.PROBE),
        lambda: key.comparer.new_segment(space),
        lambda: bulk_segment(key, vector[None], space),
    ):
        with pytest.raises(InvalidArgumentError, match="choose one with a larger ring degree") as caught:
            attempt()
        assert caught.value.reason is Reason.WRONG_DIMENSION
