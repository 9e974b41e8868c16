import numpy as np
import pytest

from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, Reason
from veilface.crypto.public.ckks_tenseal.raw_lengths import DISTANCES, NORM_BOUND, bounded, squared_threshold


def test_a_bounded_embedding_keeps_its_direction_and_its_length_in_another_unit():
    embedding = np.array([3.0, -4.0, 12.0])
    assert bounded(embedding) * NORM_BOUND == pytest.approx(embedding)
    assert np.linalg.norm(bounded(embedding)) == pytest.approx(13 / NORM_BOUND)


@pytest.mark.parametrize("model", list(DISTANCES))
def test_the_threshold_decides_as_cipherfaces_distance_does(model: str):
    limit = squared_threshold(model)
    for distance, is_match in ((DISTANCES[model] - 0.01, True), (DISTANCES[model] + 0.01, False)):
        one, other = np.array([20.0, 0.0]), np.array([20.0, distance])
        squared = float(((bounded(one) - bounded(other)) ** 2).sum())
        assert (squared <= limit) is is_match


@pytest.mark.parametrize("broken", [np.array([NORM_BOUND, 1.0]), np.array([np.nan, 0.0]), np.array([np.inf, 0.0])])
def test_what_no_template_holds_is_refused(broken: np.ndarray):
    with pytest.raises(FailedPreconditionError) as refused:
        bounded(broken)
    assert refused.value.reason is Reason.EMBEDDING_OUT_OF_RANGE
    assert bounded(np.array([NORM_BOUND, 0.0])).tolist() == [1.0, 0.0]


def test_other_models_have_no_threshold_of_raw_embeddings():
    with pytest.raises(InvalidArgumentError) as refused:
        squared_threshold("VGG-Face")
    assert refused.value.reason is Reason.UNKNOWN_MODEL
