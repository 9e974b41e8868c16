"""Thresholds for wanted false match rates, chosen on labelled pairs, and the file they are written to."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from veilface.cli.evaluation.confidence import Interval
from veilface.cli.evaluation.metrics import ErrorRates, Rate, error_rates
from veilface.cli.evaluation.operating_points import OperatingPoint
from veilface.cli.evaluation.scores import LabelledScores, score_of
from veilface.common.errors import ConfigurationError, Reason
from veilface.crypto.contract import Metric
from veilface.keys.domain.thresholds import Threshold, ThresholdTable, read_thresholds

# By how much each allows more false matches than the rate that was asked for.
FACTORS: Final = MappingProxyType({"strict": 0.1, "balanced": 1.0, "lenient": 10.0})
_LARGEST_FMR: Final = 0.5
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A threshold chosen for a false match rate.

    Attributes:
        name: The operating point.
        fmr: The rate that was wanted.
        threshold: In units of the metric.
        rates: What it costs on the pairs that it was chosen on.
    """

    name: str
    fmr: float
    threshold: float
    rates: ErrorRates

    @property
    def is_supported(self) -> bool:
        """Whether there are pairs enough to see a false match at this rate: at least one is expected among them."""
        return self.fmr * self.rates.false_matches.trials >= 1

    def point(self, source: str) -> OperatingPoint:
        """As an operating point."""
        return OperatingPoint(self.name, self.threshold, source)


def calibrate(scores: LabelledScores, fmr: float, metric: Metric) -> tuple[Calibrated, ...]:
    """Choose "balanced" for a false match rate, "strict" for a tenth of it and "lenient" for ten times as much.

    Args:
        scores: Of labelled pairs.
        fmr: In (0, 1); rates above a half are taken for a half.
        metric: The unit of the thresholds.
    """
    return tuple(_calibrated(scores, name, min(factor * fmr, _LARGEST_FMR), metric) for name, factor in FACTORS.items())


def threshold_for(scores: LabelledScores, fmr: float) -> float:
    """The similarity from which pairs match so that at most this share of the non-mated ones do.

    It lies in the middle between the most alike non-mated pair that must not match and the next more alike pair of any
    kind, so that neither noise nor rounding moves a pair across it.
    """
    non_mated = np.sort(scores.non_mated)[::-1]
    allowed = int(np.floor(fmr * non_mated.size + 1e-9))
    refused = non_mated[allowed]
    above = scores.similarities[scores.similarities > refused]
    if above.size == 0:
        return float(np.nextafter(refused, np.inf))
    middle = (refused + above.min()) / 2
    rounded = round(float(middle), _DIGITS)
    return rounded if refused < rounded <= above.min() else float(above.min())


def threshold_entries(
    calibrated: Iterable[Calibrated], model: str, metric: Metric, data: str, today: date
) -> list[Threshold]:
    """What to write into a threshold file.

    Args:
        calibrated: What was chosen.
        model: The pipeline.
        metric: The unit of the thresholds.
        data: What they were chosen on.
        today: When.
    """
    return [
        Threshold(
            model=model,
            metric=metric,
            operating_point=each.name,
            value=each.threshold,
            source=source_text(each, data),
            measured=today,
        )
        for each in calibrated
    ]


def source_text(calibrated: Calibrated, data: str) -> str:
    """The data, how many pairs, and what the threshold costs on them."""
    rates = calibrated.rates
    note = "" if calibrated.is_supported else " (too few pairs to show a rate this low)"
    return (
        f"chosen by veilface evaluate for a false match rate of {_percent(calibrated.fmr)}{note} on {data}, so the "
        f"error rates are in-sample: {_rate('false match', rates.false_matches)}; "
        f"{_rate('false non-match', rates.false_non_matches)}, as if pairs were independent"
    )


def write_thresholds(path: Path, entries: Iterable[Threshold]) -> None:
    """Write a threshold file for VEILFACE_THRESHOLD_FILE; other entries of a file that is there already stay.

    Raises:
        ConfigurationError: INVALID_SETTING if the file is there and no threshold file, or cannot be written.
    """
    added = list(entries)
    new = {(each.model, each.metric, each.operating_point) for each in added}
    kept = [
        each
        for each in (read_thresholds(path) if path.exists() else [])
        if (each.model, each.metric, each.operating_point) not in new
    ]
    documents = [each.model_dump(mode="json") for each in (*kept, *added)]
    try:
        path.write_text(json.dumps(documents, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"the threshold file {path} cannot be written: {error.strerror}"
        ) from error
    # The same reading as the key service's.
    ThresholdTable.load(path)


def _calibrated(scores: LabelledScores, name: str, fmr: float, metric: Metric) -> Calibrated:
    threshold = threshold_for(scores, fmr)
    return Calibrated(name, fmr, score_of(threshold, metric), error_rates(scores, threshold))


def _rate(name: str, rate: Rate) -> str:
    return f"{name} {rate.events} of {rate.trials} ({_interval(rate.interval)} at 95 % confidence)"


def _interval(interval: Interval) -> str:
    return f"{100 * interval.low:.2f} to {_percent(interval.high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
