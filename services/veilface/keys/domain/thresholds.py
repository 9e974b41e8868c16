"""Thresholds as named profiles. A threshold belongs to a whole recognition pipeline and a metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from veilface.common.errors import ConfigurationError, FailedPreconditionError, InvalidArgumentError, Reason
from veilface.common.files import read_setting_file
from veilface.crypto.contract import Metric
from veilface.keys.domain.deepface_thresholds import published_values
from veilface.keys.domain.policy import ThresholdOverride

DEFAULT_OPERATING_POINT: Final = "balanced"
OPERATING_POINTS: Final = ("strict", "balanced", "lenient")
MOST_OPERATING_POINTS: Final = 3


class Threshold(BaseModel):
    """The score that separates match from no match.

    Attributes:
        value: In units of the metric. A cosine matches from it upward, a squared distance from it downward.
        source: How it was found: the data, how many pairs, and what it costs in errors.
        measured: When.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=200)]
    metric: Metric
    operating_point: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    value: FiniteFloat
    source: Annotated[str, Field(min_length=1, max_length=1000)]
    measured: date

    @property
    def profile(self) -> str:
        """Its name, "{model}/{operating point}"."""
        return f"{self.model}/{self.operating_point}"


_DLIB: Final = "dlib-resnet/hog/chip"
_DLIB_PAIRS: Final = (
    "chosen on 300 labelled pairs of 25 photographs of 9 people (38 mated), so the error rates are in-sample: "
    "false match {fmr}, false non-match {fnmr}; at most 1.1 % and 7.6 % at 95 % confidence if nothing was seen"
)
_DLIB_POINTS: Final = (
    ("strict", 0.94, _DLIB_PAIRS.format(fmr="0 of 262", fnmr="1 of 38")),
    (
        "balanced",
        0.925,
        "near dlib's published Euclidean distance of 0.6 (99.38 % on LFW), which is a cosine of 0.923 at the mean norm "
        "of 1.53; " + _DLIB_PAIRS.format(fmr="0 of 262", fnmr="0 of 38"),
    ),
    ("lenient", 0.91, _DLIB_PAIRS.format(fmr="3 of 262", fnmr="0 of 38")),
)


def _dlib(metric: Metric) -> list[Threshold]:
    """The thresholds of the default pipeline; the squared distance of unit vectors is 2 - 2 cos."""
    return [
        Threshold(
            model=_DLIB,
            metric=metric,
            operating_point=operating_point,
            value=cosine if metric is Metric.COSINE else round(2 - 2 * cosine, 6),
            source=source,
            measured=date(2026, 11, 23),
        )
        for operating_point, cosine, source in _DLIB_POINTS
    ]


def _papers() -> list[Threshold]:
    """The thresholds of the papers' models: one operating point, because nobody published others."""
    return [
        Threshold(
            model=each.model,
            metric=each.metric,
            operating_point=DEFAULT_OPERATING_POINT,
            value=each.value,
            source=each.source,
            measured=date(2026, 11, 23),
        )
        for each in published_values()
    ]


PUBLISHED: Final[tuple[Threshold, ...]] = (*_dlib(Metric.COSINE), *_dlib(Metric.SQUARED_EUCLIDEAN), *_papers())


def read_thresholds(path: Path) -> list[Threshold]:
    """The thresholds of a JSON file: a list of objects with the fields of `Threshold`.

    Raises:
        ConfigurationError: INVALID_SETTING.
    """
    content = read_setting_file(path, "a JSON list of thresholds")
    try:
        return TypeAdapter(list[Threshold]).validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"{path} is not a list of thresholds: {first['msg']} at {first['loc']}"
        ) from error


def with_published(own: Sequence[Threshold]) -> list[Threshold]:
    """The published thresholds that are not replaced, and one's own."""
    replaced = {(each.model, each.metric, each.operating_point) for each in own}
    kept = (each for each in PUBLISHED if (each.model, each.metric, each.operating_point) not in replaced)
    return [*kept, *own]


@dataclass(frozen=True, slots=True)
class ResolvedThreshold:
    """The threshold that one decision uses, and the bands above and below it.

    Attributes:
        profile: Its name, "{model}/{operating point}".
        bands: The operating points of the same pipeline and metric, the strictest first.
    """

    profile: str
    metric: Metric
    value: float
    bands: tuple[tuple[str, float], ...]


class ThresholdTable:
    """Every threshold that this service knows.

    Many operating points of one pipeline would make bands as good as raw scores, and a choice of thresholds a binary
    search.

    Args:
        thresholds: Those of all keys.
        most_points: How many operating points a pipeline and metric may have, those of the key's policy included.

    Raises:
        ConfigurationError: INVALID_SETTING if two are for the same pipeline, metric and operating point, or more than
            `most_points` for one pipeline and metric.
    """

    def __init__(self, thresholds: Sequence[Threshold], most_points: int = MOST_OPERATING_POINTS) -> None:
        table: dict[tuple[str, Metric], dict[str, float]] = {}
        for threshold in thresholds:
            points = table.setdefault((threshold.model, threshold.metric), {})
            if threshold.operating_point in points:
                raise ConfigurationError(
                    Reason.INVALID_SETTING, f"there are two thresholds {threshold.profile} for {threshold.metric.value}"
                )
            points[threshold.operating_point] = threshold.value
            if len(points) > most_points:
                raise ConfigurationError(
                    Reason.INVALID_SETTING,
                    f"{threshold.model} has more than {most_points} operating points for {threshold.metric.value}: "
                    f"give the new threshold one of the names {', '.join(sorted(points)[:most_points])}",
                )
        self._most_points = most_points
        self._table: Mapping[tuple[str, Metric], Mapping[str, float]] = table

    @classmethod
    def load(cls, path: Path | None, most_points: int = MOST_OPERATING_POINTS) -> "ThresholdTable":
        """The published thresholds, and those of a JSON file (a list of objects with the fields of `Threshold`).

        Raises:
            ConfigurationError: INVALID_SETTING.
        """
        return cls(PUBLISHED if path is None else with_published(read_thresholds(path)), most_points)

    def require_few(self, overrides: Sequence[ThresholdOverride]) -> None:
        """Check that a key with these thresholds has few enough operating points for every pipeline and metric.

        Raises:
            InvalidArgumentError: INVALID_FIELD.
        """
        for model, metric in {(each.model, each.metric) for each in overrides}:
            points = self._points(model, metric, overrides)
            if len(points) > self._most_points:
                raise InvalidArgumentError(
                    Reason.INVALID_FIELD,
                    f"policy: thresholds: {model} would have {len(points)} operating points for {metric.value}, "
                    f"published ones included ({', '.join(sorted(points))}); at most {self._most_points} are allowed",
                )

    def resolve(
        self, model: str, metric: Metric, operating_point: str, overrides: Sequence[ThresholdOverride]
    ) -> ResolvedThreshold:
        """The threshold of a pipeline, metric and operating point; overrides of the key come first.

        Args:
            operating_point: Empty selects "balanced".

        Raises:
            FailedPreconditionError: UNKNOWN_MODEL if no threshold is known for the pipeline and metric; POLICY_DENIED
                if there are too many, because the service's were changed after the key's.
            InvalidArgumentError: UNKNOWN_OPERATING_POINT.
        """
        points = self._points(model, metric, overrides)
        if len(points) > self._most_points:
            raise FailedPreconditionError(
                Reason.POLICY_DENIED,
                f"{model} has {len(points)} operating points with those of the key's policy; at most "
                f"{self._most_points} are allowed: take some out of the policy or of the service's threshold file",
            )
        if not points:
            raise FailedPreconditionError(
                Reason.UNKNOWN_MODEL,
                f"no threshold is known for {metric.value} scores of {model}: calibrate one and put it into the key's "
                "policy or the service's threshold file",
            )
        chosen = operating_point or DEFAULT_OPERATING_POINT
        if chosen not in points:
            raise InvalidArgumentError(
                Reason.UNKNOWN_OPERATING_POINT,
                f"{model} has no such operating point; choose one of {', '.join(sorted(points))}",
            )
        strictest_first = sorted(points.items(), key=lambda item: item[1], reverse=metric is Metric.COSINE)
        return ResolvedThreshold(f"{model}/{chosen}", metric, points[chosen], tuple(strictest_first))

    def _points(self, model: str, metric: Metric, overrides: Sequence[ThresholdOverride]) -> dict[str, float]:
        own = {
            each.operating_point: each.threshold for each in overrides if (each.model, each.metric) == (model, metric)
        }
        return {**self._table.get((model, metric), {}), **own}
