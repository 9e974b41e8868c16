"""From scores to candidates: who passes the threshold, and the best of them."""

import numpy as np
from numpy.typing import NDArray

from veilface.crypto.contract import Metric

# No pair of unit vectors has a larger cosine, and no distance is negative. What lies beyond by more than noise is not a
# comparison score, so it matches nobody: garbage must not pass a threshold by being large.
_PLAUSIBLE_MARGIN = 0.01

Scores = NDArray[np.float64]
Positions = NDArray[np.intp]


def matches(scores: Scores, metric: Metric, threshold: float) -> NDArray[np.bool_]:
    """Which scores, shape (count,), pass the threshold. Not-a-number never does."""
    if metric is Metric.COSINE:
        return (scores >= threshold) & (scores <= 1.0 + _PLAUSIBLE_MARGIN)
    return (scores <= threshold) & (scores >= -_PLAUSIBLE_MARGIN)


def best_matches(scores: Scores, metric: Metric, threshold: float, top_k: int) -> Positions:
    """The positions of at most `top_k` scores that pass, best first; of equal scores the one at the lower position.

    Takes time linear in the number of scores: only what passes is looked at again, and only the winners are sorted.
    """
    passing = np.flatnonzero(matches(scores, metric, threshold))
    badness = -scores[passing] if metric is Metric.COSINE else scores[passing]
    if passing.size > top_k:
        cut = np.partition(badness, top_k - 1)[top_k - 1]
        # Everything strictly better than the cut is in; of those equal to it, the first ones fill up.
        better = np.flatnonzero(badness < cut)
        equal = np.flatnonzero(badness == cut)[: top_k - better.size]
        chosen = np.sort(np.concatenate((better, equal)))
        passing, badness = passing[chosen], badness[chosen]
    return passing[np.argsort(badness, kind="stable")]


def most_alike(scores: Scores, metric: Metric) -> int | None:
    """The position of the score that speaks most for the same person; None if none is a number."""
    if np.isnan(scores).all():
        return None
    return int(np.nanargmax(scores) if metric is Metric.COSINE else np.nanargmin(scores))
