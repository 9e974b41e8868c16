import dataclasses

import numpy as np
import pytest
from tests.unit.embedding.faces_in_images import square_pipeline

from veilface.common.errors import ConfigurationError, FailedPreconditionError, InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, Scheme
from veilface.embedding.domain.normalization import l2_normalize
from veilface.embedding.domain.pipeline import PipelineName, PipelineSet, Scope

FIRST, SECOND = square_pipeline(name="a/b/c"), square_pipeline(name="d/e/f")


def test_a_pipeline_is_named_by_model_detector_and_alignment() -> None:
    name = PipelineName.parse("VGG-Face/retinaface/deepface")
    assert (name.model, name.detector, name.alignment) == ("VGG-Face", "retinaface", "deepface")
    assert str(name) == "VGG-Face/retinaface/deepface"


@pytest.mark.parametrize("text", ["", "dlib-resnet", "a/b", "a/b/c/d", "a//c", "a/b/c ", "../b/c", "a/b/ç"])
def test_anything_else_is_no_pipeline(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        PipelineName.parse(text)
    assert raised.value.reason is Reason.INVALID_SETTING


def test_the_first_pipeline_is_the_default() -> None:
    pipelines = PipelineSet([FIRST, SECOND])
    assert pipelines.select("") is pipelines.default is FIRST


def test_a_pipeline_is_selected_by_its_name() -> None:
    assert PipelineSet([FIRST, SECOND]).select("d/e/f") is SECOND


def test_an_unknown_pipeline_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgumentError, match="a/b/c, d/e/f") as raised:
        PipelineSet([FIRST, SECOND]).select("dlib-resnet/hog/chip")
    assert raised.value.reason is Reason.UNKNOWN_MODEL


@pytest.mark.parametrize("pipelines", [[], [FIRST, FIRST]])
def test_a_set_has_different_pipelines_and_at_least_one(pipelines: list) -> None:
    with pytest.raises(ConfigurationError):
        PipelineSet(pipelines)


def test_a_normalized_embedding_has_length_1_and_the_same_direction() -> None:
    normalized = l2_normalize(np.array([3.0, -4.0]))
    assert normalized == pytest.approx([0.6, -0.8])


@pytest.mark.parametrize("values", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_an_embedding_without_direction_is_refused(values: list[float]) -> None:
    with pytest.raises(FailedPreconditionError) as raised:
        l2_normalize(np.array(values))
    assert raised.value.reason is Reason.EMBEDDING_OUT_OF_RANGE


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("metric", Metric)
def test_a_pipeline_without_a_scope_is_for_every_scheme_and_metric(scheme: Scheme, metric: Metric) -> None:
    FIRST.check(scheme, metric)


def test_a_pipeline_is_refused_outside_of_its_scope() -> None:
    parity = dataclasses.replace(FIRST, scope=Scope(Scheme.CKKS_TENSEAL, Metric.COSINE))
    parity.check(Scheme.CKKS_TENSEAL, Metric.COSINE)
    with pytest.raises(InvalidArgumentError, match="ckks-tenseal only") as raised:
        parity.check(Scheme.CKKS_PACKED, Metric.COSINE)
    assert raised.value.reason is Reason.UNSUPPORTED_BY_SCHEME
    with pytest.raises(InvalidArgumentError, match="cosine only") as raised:
        parity.check(Scheme.CKKS_TENSEAL, Metric.SQUARED_EUCLIDEAN)
    assert raised.value.reason is Reason.WRONG_METRIC
