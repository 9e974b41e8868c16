"""How exact scores of the additive schemes are.

Comparing integers is exact, so rounding counts, and beside a template that was not asked for the blur of its carry.
"""

from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.phe.quantization import SCALE, score_from_integer
from veilface.crypto.public.phe.slots import CARRY_BLUR
from veilface.crypto.public.rounding import rounding_tolerance


def score_tolerance(space: TemplateSpace) -> float:
    """See `crypto.public.registry.score_tolerance`."""
    return rounding_tolerance(SCALE, space) + score_from_integer(CARRY_BLUR)
