"""Exact confidence intervals of error rates.

C. J. Clopper and E. S. Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
Biometrika 26 (1934). They hold for independent trials; pairs that share photographs are not, so for those the truth is
wider.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CONFIDENCE: Final = 0.95
_BISECTIONS: Final = 100
_LARGEST_TERM: Final = 10_000
_PRECISION: Final = 1e-15
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval of a rate, 0 <= low <= high <= 1."""

    low: float
    high: float


def clopper_pearson(events: int, trials: int) -> Interval:
    """The 95 % interval of a rate of which `events` of `trials` were seen; 0 to 1 without trials.

    Raises:
        ValueError: unless 0 <= events <= trials.
    """
    if not 0 <= events <= trials:
        raise ValueError(f"{events} events in {trials} trials")
    tail = (1 - CONFIDENCE) / 2
    low = high = None
    if events == 0:
        low = 0.0
    if events == trials:
        high = 1.0
    if low is None:
        low = _solve(lambda rate: beta_cdf(rate, events, trials - events + 1), tail)
    if high is None:
        high = _solve(lambda rate: beta_cdf(rate, events + 1, trials - events), 1 - tail)
    return Interval(low, high)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), 0 < x < 1, by its continued fraction (DLMF 8.17.22)."""
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    fraction, c, d = 1.0, 1.0, 0.0
    for term in range(_LARGEST_TERM):
        half = term // 2
        if term == 0:
            numerator = 1.0
        elif term % 2 == 0:
            numerator = half * (b - half) * x / ((a + term - 1) * (a + term))
        else:
            numerator = -(a + half) * (a + b + half) * x / ((a + term - 1) * (a + term))
        d = 1 / _nonzero(1 + numerator * d)
        c = _nonzero(1 + numerator / c)
        fraction *= c * d
        if abs(1 - c * d) < _PRECISION:
            break
    return math.exp(log_front) * (fraction - 1) / a


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _solve(cdf: Callable[[float], float], probability: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if cdf(middle) < probability else (low, middle)
    return (low + high) / 2
