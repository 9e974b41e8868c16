"""How exact scores of `ckks-packed` are.

A search with a ternary secret s has two sources of noise, both of rounding to integers (variance 1/12 each):

- Rescaling the score, which rounds three polynomials: e0 + e1 s + e2 s^2. A coefficient of s^2 has a variance of
  8n/9, and n of them are summed up: n sqrt(2/27), at the scale of the score. All else is far below.
- Rescaling expanded templates, e0 + e1 s with a deviation of sqrt(n/18): that of the probe is multiplied by every
  template of the segment, that of n enrolled templates by the probe. Squared Euclidean coordinates have a squared norm
  of 3 at most.

Comparing 1:1 is more exact by orders of magnitude. A profile with an integer norm rounds the noise away, and errs by
rounding the embeddings instead.
"""

import math
from typing import Final

from veilface.crypto.contract import Metric, TemplateSpace
from veilface.crypto.public.packed.expand import segment_scale
from veilface.crypto.public.packed.profiles import packed_profile
from veilface.crypto.public.packed.scores import search_format
from veilface.crypto.public.packed.space import score_unit
from veilface.crypto.public.rounding import DEVIATIONS, rounding_tolerance

_SQUARED_NORM: Final = {Metric.COSINE: 1.0, Metric.SQUARED_EUCLIDEAN: 3.0}


def score_tolerance(profile: str, space: TemplateSpace) -> float:
    """See `crypto.public.registry.score_tolerance`."""
    parameters = packed_profile(profile)
    if parameters.integer_norm is not None:
        return rounding_tolerance(parameters.integer_norm, space) + 1 / parameters.integer_norm**2
    n = parameters.degree
    rescaled = n * math.sqrt(2 / 27) / search_format(parameters).scale
    expanded = math.sqrt(n * n / 18) / segment_scale(parameters)
    variance = rescaled**2 + 2 * _SQUARED_NORM[space.metric] * expanded**2
    return DEVIATIONS * math.sqrt(variance) * score_unit(space, parameters)
