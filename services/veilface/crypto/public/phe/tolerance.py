"""How exact scores of the additive schemes are."""

from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.phe.quantization import SCALE
from veilface.crypto.public.rounding import rounding_tolerance


def score_tolerance(space: TemplateSpace) -> float:
    """See `crypto.public.registry.score_tolerance`: comparing integers is exact, so only rounding counts."""
    return rounding_tolerance(SCALE, space)
