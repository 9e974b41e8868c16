"""Named thresholds and what they cost."""

from collections.abc import Iterable
from dataclasses import dataclass

from veilface.cli.evaluation.metrics import ErrorRates, error_rates
from veilface.cli.evaluation.scores import LabelledScores, similarity
from veilface.crypto.contract import Metric
from veilface.keys.domain.thresholds import Threshold


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A named threshold.

    Attributes:
        threshold: In units of the metric.
        source: How it was found.
    """

    name: str
    threshold: float
    source: str


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """An operating point and its errors on labelled pairs."""

    point: OperatingPoint
    rates: ErrorRates


def known_points(thresholds: Iterable[Threshold], model: str, metric: Metric) -> list[OperatingPoint]:
    """The thresholds for a pipeline and metric, strictest first."""
    points = [
        OperatingPoint(each.operating_point, each.value, each.source)
        for each in thresholds
        if (each.model, each.metric) == (model, metric)
    ]
    return strictest_first(points, metric)


def replaced(points: Iterable[OperatingPoint], by: Iterable[OperatingPoint], metric: Metric) -> list[OperatingPoint]:
    """All points, of which later ones take the place of those of the same name; strictest first."""
    named = {point.name: point for point in (*points, *by)}
    return strictest_first(named.values(), metric)


def strictest_first(points: Iterable[OperatingPoint], metric: Metric) -> list[OperatingPoint]:
    """In the order of strictness."""
    return sorted(points, key=lambda point: -similarity(point.threshold, metric))


def measure_points(
    scores: LabelledScores, points: Iterable[OperatingPoint], metric: Metric
) -> tuple[MeasuredPoint, ...]:
    """The errors of each."""
    return tuple(MeasuredPoint(point, error_rates(scores, similarity(point.threshold, metric))) for point in points)
