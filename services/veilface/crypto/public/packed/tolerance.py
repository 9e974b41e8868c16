"""How exact scores of `ckks-packed` are."""

from veilface.crypto.contract import Metric, TemplateSpace
from veilface.crypto.public.packed.profiles import packed_profile


def score_tolerance(profile: str, space: TemplateSpace) -> float:
    """See `crypto.public.registry.score_tolerance`: the noise of a search, whatever the dimension."""
    parameters = packed_profile(profile)
    return parameters.cosine_error if space.metric is Metric.COSINE else parameters.squared_euclidean_error
