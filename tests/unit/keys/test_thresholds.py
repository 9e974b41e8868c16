import importlib
from datetime import date
from pathlib import Path

import pytest

from veilface.common.errors import ConfigurationError, FailedPreconditionError, InvalidArgumentError, Reason
from veilface.crypto.contract import Metric
from veilface.keys.domain.deepface_thresholds import DETECTORS
from veilface.keys.domain.policy import ThresholdOverride
from veilface.keys.domain.thresholds import (
    DEFAULT_OPERATING_POINT,
    OPERATING_POINTS,
    PUBLISHED,
    Threshold,
    ThresholdTable,
)

DLIB = "dlib-resnet/hog/chip"


def own(operating_point: str = "balanced", value: float = 0.5) -> Threshold:
    return Threshold(
        model="m",
        metric=Metric.SQUARED_EUCLIDEAN,
        operating_point=operating_point,
        value=value,
        source="a test",
        measured=date(2030, 1, 1),
    )


def points_of(model: str, metric: Metric) -> set[str]:
    return {each.operating_point for each in PUBLISHED if (each.model, each.metric) == (model, metric)}


@pytest.mark.parametrize("metric", Metric)
def test_the_default_pipeline_has_all_operating_points(metric: Metric) -> None:
    assert points_of(DLIB, metric) == set(OPERATING_POINTS)


def test_every_published_pipeline_has_the_default_operating_point_with_a_source() -> None:
    for model, metric in {(each.model, each.metric) for each in PUBLISHED}:
        assert DEFAULT_OPERATING_POINT in points_of(model, metric) <= set(OPERATING_POINTS)
    assert all(each.source for each in PUBLISHED)


def test_the_published_thresholds_of_the_papers_models_are_deepfaces() -> None:
    published = importlib.import_module("deepface.config.threshold").thresholds
    table = ThresholdTable(PUBLISHED)
    for model in ("Facenet", "Facenet512", "VGG-Face"):
        for detector in DETECTORS:
            pipeline = f"{model}/{detector}/deepface"
            cosine = table.resolve(pipeline, Metric.COSINE, "", ()).value
            squared = table.resolve(pipeline, Metric.SQUARED_EUCLIDEAN, "", ()).value
            assert cosine == pytest.approx(1 - published[model]["cosine"])
            assert squared == pytest.approx(published[model]["euclidean_l2"] ** 2)


def test_transformed_embeddings_have_thresholds_of_their_own() -> None:
    table = ThresholdTable(PUBLISHED)
    transformed = table.resolve("cipherface-Facenet/yunet/deepface", Metric.COSINE, "", ()).value
    assert transformed == pytest.approx(1 - 0.02431508799003538, abs=1e-6)
    assert table.resolve("Facenet/yunet/deepface", Metric.COSINE, "", ()).value == 0.6
    with pytest.raises(FailedPreconditionError):
        table.resolve("cipherface-VGG-Face/yunet/deepface", Metric.COSINE, "", ())


def test_strict_is_stricter_than_balanced_and_lenient_is_not() -> None:
    table = ThresholdTable(PUBLISHED)
    strict, balanced, lenient = (
        table.resolve(DLIB, Metric.COSINE, point, ()).value for point in ("strict", "balanced", "lenient")
    )
    assert strict > balanced > lenient


def test_without_an_operating_point_it_is_balanced() -> None:
    resolved = ThresholdTable(PUBLISHED).resolve(DLIB, Metric.COSINE, "", ())
    assert resolved.profile == f"{DLIB}/balanced"


def test_bands_begin_with_the_strictest_in_either_direction() -> None:
    distances = ThresholdTable([own("strict", 0.3), own("lenient", 0.6), own("balanced", 0.4)])
    bands = distances.resolve("m", Metric.SQUARED_EUCLIDEAN, "", ()).bands
    assert [name for name, _ in bands] == ["strict", "balanced", "lenient"]
    cosines = ThresholdTable(PUBLISHED).resolve(DLIB, Metric.COSINE, "", ()).bands
    assert [name for name, _ in cosines] == ["strict", "balanced", "lenient"]


def test_a_threshold_belongs_to_one_metric() -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        ThresholdTable([own()]).resolve("m", Metric.COSINE, "", ())
    assert caught.value.reason is Reason.UNKNOWN_MODEL


def test_an_unknown_operating_point_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgumentError, match="balanced, lenient, strict"):
        ThresholdTable(PUBLISHED).resolve(DLIB, Metric.COSINE, "paranoid", ())


def test_the_threshold_of_a_key_comes_first() -> None:
    override = ThresholdOverride(model=DLIB, metric=Metric.COSINE, operating_point="balanced", threshold=0.99)
    table = ThresholdTable(PUBLISHED)
    published = table.resolve(DLIB, Metric.COSINE, "strict", ()).value
    assert table.resolve(DLIB, Metric.COSINE, "", (override,)).value == 0.99
    assert table.resolve(DLIB, Metric.COSINE, "strict", (override,)).value == published


def test_a_file_adds_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.json"
    entry = (
        '{"model": "%s", "metric": "cosine", "operating_point": "%s", "value": %s, '
        '"source": "measured here", "measured": "2030-01-02"}'
    )
    path.write_text(f"[{entry % (DLIB, 'strict', 0.97)}, {entry % ('other', 'balanced', 0.4)}]")
    table = ThresholdTable.load(path)
    assert table.resolve(DLIB, Metric.COSINE, "strict", ()).value == 0.97
    published = ThresholdTable.load(None).resolve(DLIB, Metric.COSINE, "balanced", ()).value
    assert table.resolve(DLIB, Metric.COSINE, "balanced", ()).value == published
    assert table.resolve("other", Metric.COSINE, "", ()).value == 0.4


@pytest.mark.parametrize("text", ["{}", "[1]", "[{}]", "not json", '[{"model": "m"}]'])
def test_a_malformed_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "thresholds.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        ThresholdTable.load(path)


def test_two_thresholds_for_the_same_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        ThresholdTable([own(), own()])


def override(operating_point: str, model: str = DLIB, metric: Metric = Metric.COSINE) -> ThresholdOverride:
    return ThresholdOverride(model=model, metric=metric, operating_point=operating_point, threshold=0.5)


def test_a_pipeline_has_three_operating_points_at_most_published_ones_included() -> None:
    table = ThresholdTable(PUBLISHED)
    replacing = [override(point) for point in OPERATING_POINTS]
    table.require_few([*replacing, *(override(f"own-{number}", "new") for number in range(3))])
    with pytest.raises(InvalidArgumentError) as caught:
        table.require_few([*replacing, override("paranoid")])
    assert caught.value.reason is Reason.INVALID_FIELD
    with pytest.raises(InvalidArgumentError):
        table.require_few([override(f"own-{number}", "new") for number in range(4)])
    table.require_few([override(f"own-{number}", "new", metric) for number in range(3) for metric in Metric])


def test_nothing_is_decided_with_more_operating_points_than_three() -> None:
    table = ThresholdTable(PUBLISHED)
    with pytest.raises(FailedPreconditionError) as caught:
        table.resolve(DLIB, Metric.COSINE, "", [override("paranoid")])
    assert caught.value.reason is Reason.POLICY_DENIED
    assert table.resolve(DLIB, Metric.COSINE, "", [override("strict")]).value == 0.925


def test_a_file_with_a_fourth_operating_point_is_refused_unless_the_service_is_for_research() -> None:
    points = [own(f"own-{number}", 0.1 * number) for number in range(1, 5)]
    with pytest.raises(ConfigurationError):
        ThresholdTable(points)
    ThresholdTable(points[:3])
    many = ThresholdTable(points, most_points=256)
    assert len(many.resolve("m", Metric.SQUARED_EUCLIDEAN, "own-4", ()).bands) == 4


def test_a_threshold_is_a_finite_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        own(value=float("nan"))
