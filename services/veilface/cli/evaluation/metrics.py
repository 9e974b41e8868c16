"""Measures of biometric accuracy, by the terms of ISO/IEC 19795-1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veilface.cli.evaluation.confidence import Interval, clopper_pearson
from veilface.cli.evaluation.scores import LabelledScores, Similarities

_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened."""

    events: int
    trials: int

    @property
    def value(self) -> float:
        """The share; 0 without trials."""
        return self.events / self.trials if self.trials else 0.0

    @property
    def interval(self) -> Interval:
        """The 95 % confidence interval, as if the trials were independent."""
        return clopper_pearson(self.events, self.trials)


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """What a threshold costs.

    Attributes:
        false_matches: Non-mated pairs that match (FMR).
        false_non_matches: Mated pairs that do not (FNMR).
    """

    false_matches: Rate
    false_non_matches: Rate

    @property
    def accuracy(self) -> float:
        """The share of pairs that are decided rightly."""
        trials = self.false_matches.trials + self.false_non_matches.trials
        return 1 - (self.false_matches.events + self.false_non_matches.events) / trials if trials else 0.0


@dataclass(frozen=True, slots=True)
class Separation:
    """How well mated and non-mated pairs are told apart, whatever the threshold.

    Attributes:
        auc: The probability that a mated pair is more alike than a non-mated one; ties count half.
        eer: The equal error rate.
        d_prime: The distance of the means in units of the pooled standard deviation; None if that is zero.
    """

    auc: float
    eer: float
    d_prime: float | None


def separation(scores: LabelledScores) -> Separation:
    """Measure scores of which at least one is mated and one is not."""
    return Separation(
        area_under_curve(scores), equal_error_rate(scores), sensitivity_index(scores.mated, scores.non_mated)
    )


def error_rates(scores: LabelledScores, threshold: float) -> ErrorRates:
    """Errors if similarities from the threshold upward match."""
    mated, non_mated = scores.mated, scores.non_mated
    return ErrorRates(
        Rate(int(np.count_nonzero(non_mated >= threshold)), non_mated.size),
        Rate(int(np.count_nonzero(mated < threshold)), mated.size),
    )


def area_under_curve(scores: LabelledScores) -> float:
    """The area under the ROC curve, as the statistic of Mann and Whitney."""
    mated, ordered = scores.mated, np.sort(scores.non_mated)
    below = np.searchsorted(ordered, mated, side="left") + np.searchsorted(ordered, mated, side="right")
    return float(below.sum() / (2 * mated.size * ordered.size))


def equal_error_rate(scores: LabelledScores) -> float:
    """Where FMR and FNMR are equal, on straight lines between the thresholds at which pairs change sides."""
    fmr, fnmr = rates_at(scores, np.append(np.unique(scores.similarities), np.inf))
    # The difference falls from 1 to -1.
    after = int(np.argmax(fmr <= fnmr))
    before = after - 1
    excess, lack = fmr[before] - fnmr[before], fnmr[after] - fmr[after]
    way = excess / (excess + lack)
    return float(fmr[before] + way * (fmr[after] - fmr[before]))


def sensitivity_index(mated: Similarities, non_mated: Similarities) -> float | None:
    """d': the difference of the means divided by the root mean of the variances."""
    deviation = float(np.sqrt((mated.var() + non_mated.var()) / 2))
    return float(mated.mean() - non_mated.mean()) / deviation if deviation > 0 else None


def rates_at(
    scores: LabelledScores, thresholds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FMR and FNMR at many thresholds, each of shape (thresholds,)."""
    mated, non_mated = np.sort(scores.mated), np.sort(scores.non_mated)
    fmr = 1 - np.searchsorted(non_mated, thresholds, side="left") / non_mated.size
    fnmr = np.searchsorted(mated, thresholds, side="left") / mated.size
    return fmr, fnmr


def rank_one(embeddings: NDArray[np.float64], subjects: Sequence[str]) -> Rate:
    """How often the photograph most alike shows the same person: each is searched among all others.

    Photographs of people without another one are among those that are searched, but are not searched for.

    Args:
        embeddings: Shape (photographs, dimension). Those of unit length are compared by their cosine, which is the
            same as by their distance.
        subjects: Who is on each.
    """
    people = np.unique(np.array(subjects), return_inverse=True)[1]
    searched = np.flatnonzero(np.bincount(people)[people] > 1)
    squares = np.einsum("ij,ij->i", embeddings, embeddings)
    found = 0
    for start in range(0, searched.size, _BLOCK):
        rows = searched[start : start + _BLOCK]
        alike = embeddings[rows] @ embeddings.T - squares / 2
        alike[np.arange(rows.size), rows] = -np.inf
        found += int(np.count_nonzero(people[alike.argmax(axis=1)] == people[rows]))
    return Rate(found, searched.size)
