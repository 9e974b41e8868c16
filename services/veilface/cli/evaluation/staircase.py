"""Thresholds close to each other over the whole range of scores.

A key whose policy releases bands answers the strictest threshold that a comparison passes. With many thresholds, one
decision then tells what the decision would have been at each of them, and so the error curves after encryption.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.cli.evaluation.scores import Similarities

STEPS: Final = 200
_MARGIN: Final = 0.02


@dataclass(frozen=True, slots=True)
class Staircase:
    """Evenly spaced thresholds as similarities, ascending.

    Attributes:
        thresholds: Shape (steps + 1,).
    """

    thresholds: NDArray[np.float64] = field(repr=False)

    @classmethod
    def over(cls, similarities: Similarities) -> "Staircase":
        """From below the least alike to above the most alike, with a margin for the error of encryption."""
        lowest, highest = float(similarities.min()), float(similarities.max())
        margin = max(_MARGIN * (highest - lowest), 2e-3)
        return cls(np.linspace(lowest - margin, highest + margin, STEPS + 1))

    def name(self, step: int) -> str:
        """The operating point of a step."""
        return f"step-{step:03d}"
