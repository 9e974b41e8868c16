import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.crypto.phe.faces import embeddings
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, TemplateSpace
from veilface.crypto.public.phe.quantization import SCALE, largest_squared_norm, quantize


@given(st.sampled_from([1, 2, 128, 512, 4096]), st.integers(0, 2**32), st.floats(0.9991, 1.0009))
def test_no_embedding_is_longer_than_the_bound_as_integers(dimension: int, seed: int, norm: float):
    vector = embeddings(1, dimension, seed)[0] * norm
    integers = quantize(vector, TemplateSpace(dimension))
    assert int(integers @ integers) <= largest_squared_norm(dimension)


def test_the_cosine_of_integers_is_within_1e_3_of_the_cosine():
    vectors = embeddings(400, 512, seed=1)
    space = TemplateSpace(512)
    integers = np.stack([quantize(vector, space) for vector in vectors])
    error = np.abs(integers @ integers.T / SCALE**2 - vectors @ vectors.T)
    assert error.max() < 1e-3


def test_quantising_keeps_signs_and_zeros():
    vector = np.array([-0.6, 0.0, 0.8, 0.0])
    assert quantize(vector, TemplateSpace(4)).tolist() == [-1200, 0, 1600, 0]


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("broken", [np.nan, np.inf, 1.5])
def test_values_out_of_range_are_refused(metric: Metric, broken: float):
    vector = np.array([0.0, broken])
    with pytest.raises(InvalidArgumentError) as refused:
        quantize(vector, TemplateSpace(2, metric))
    assert refused.value.reason is Reason.EMBEDDING_OUT_OF_RANGE
    assert quantize(np.array([0.0, 1.0]), TemplateSpace(2, metric)).tolist() == [0, SCALE]


def test_another_shape_is_refused():
    with pytest.raises(InvalidArgumentError) as refused:
        quantize(np.ones((2, 2)) / 2, TemplateSpace(4))
    assert refused.value.reason is Reason.WRONG_DIMENSION
