"""How exact scores of `ckks-tenseal` are.

Decryption takes the median of all slots, which is close to the constant coefficient. TenSEAL sums a vector of d numbers
up by rotations, and these leave that coefficient where it is: what one of them adds to it by switching keys counts
d times at most. The errors of the two fresh templates, e0 + e1 s + e u with ternary s and u, are multiplied by the
other template, d numbers that fill the slots by repetition: they count sqrt(d) times for a unit vector, and for a
squared distance twice the difference of norm 2 or less.
"""

import math
from typing import Final

from veilface.crypto.contract import MAX_DIMENSION, Metric, TemplateSpace
from veilface.crypto.public.ckks_tenseal.profiles import tenseal_profile
from veilface.crypto.public.ckks_tenseal.space import vector_size
from veilface.crypto.public.rounding import DEVIATIONS

# SEAL's errors of fresh ciphertexts, a rounded normal distribution.
_ERROR_DEVIATION: Final = 3.2
# Of the double precision of TenSEAL's encoder.
_ENCODING: Final = 1e-8
_FRESH_FACTOR: Final = {Metric.COSINE: 1.0, Metric.SQUARED_EUCLIDEAN: 4.0}


def score_tolerance(profile: str, space: TemplateSpace) -> float:
    """See `crypto.public.registry.score_tolerance`."""
    parameters = tenseal_profile(profile)
    n, size = parameters.degree, vector_size(space, parameters)
    largest_sum = min(parameters.slot_count, MAX_DIMENSION)
    switching = size * parameters.score_deviation / math.sqrt(n * largest_sum)
    one_template = _ERROR_DEVIATION * math.sqrt((1 + 4 * n / 3) * size) / 2.0**parameters.log_scale
    fresh = _FRESH_FACTOR[space.metric] * math.sqrt(2) * one_template
    return DEVIATIONS * math.hypot(switching, fresh) + _ENCODING
