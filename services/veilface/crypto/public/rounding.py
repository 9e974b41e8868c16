"""What rounding embeddings to a grid does to their scores.

Every coordinate x of both sides becomes round(scale x) / scale, which is off by a number that is as good as uniform in
+-1 / (2 scale) and independent of all others. For unit vectors g and q with errors d and e:

- cosine: (g + d).(q + e) - g.q = d.q + e.g + d.e. The first two sum up to a variance of 2 / (12 scale^2), whatever
  the dimension; the third, of dimension / (144 scale^4), is too small to count.
- squared Euclidean: |g + d - q - e|^2 - |g - q|^2 = 2 (g - q).(d - e) + |d - e|^2. The first has a variance of
  4 |g - q|^2 * 2 / (12 scale^2), which is largest at the largest squared distance, 4. The second is never negative and
  close to its mean, 2 dimension / (12 scale^2).

A weighted sum of uniform errors deviates by k standard deviations with a probability below 2 exp(-k^2 / 2). The two
sides' errors are the same where the embeddings are, which makes the deviation of a cosine up to sqrt(2) times as large:
that is close to 1, where there is no threshold.
"""

import math
from typing import Final

from veilface.crypto.contract import Metric, TemplateSpace

LARGEST_SQUARED_DISTANCE: Final = 4.0
# Six: 3e-8 by that bound, and 2e-9 for the normal distribution that all these sums are close to.
DEVIATIONS: Final = 6.0


def rounding_tolerance(scale: float, space: TemplateSpace) -> float:
    """How far a score of rounded embeddings may be from the true one, in units of the metric.

    Args:
        scale: A coordinate of 1 becomes this integer.
        space: Of the embeddings.
    """
    variance_of_one = 1 / (12 * scale**2)
    if space.metric is Metric.COSINE:
        return DEVIATIONS * math.sqrt(2 * variance_of_one)
    deviation = math.sqrt(4 * LARGEST_SQUARED_DISTANCE * 2 * variance_of_one)
    return DEVIATIONS * deviation + 2 * space.dimension * variance_of_one
