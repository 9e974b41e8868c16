"""Thresholds close to each other over the whole range of scores.

A key whose policy releases bands answers the strictest threshold that a comparison passes. With many thresholds, one
decision then tells what the decision would have been at each of them, and so the error curves after encryption.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.cli.evaluation.scores import LabelledScores, Similarities

STEPS: Final = 120
_MOST_TURNS: Final = 110
_MARGIN: Final = 0.02


@dataclass(frozen=True, slots=True)
class Staircase:
    """Thresholds as similarities, ascending; at most 231, so that with the operating points they fit into one policy.

    Attributes:
        even: Evenly spaced from below the least alike pair to above the most alike; shape (STEPS + 1,).
        thresholds: These, and more where mated and non-mated pairs take turns; shape (thresholds,).
    """

    even: NDArray[np.float64] = field(repr=False)
    thresholds: NDArray[np.float64] = field(repr=False)

    @classmethod
    def over(cls, scores: LabelledScores, tolerance: float) -> "Staircase":
        """For labelled scores, with a margin at both ends, at least twice as wide as encryption may move a score."""
        lowest, highest = float(scores.similarities.min()), float(scores.similarities.max())
        margin = max(_MARGIN * (highest - lowest), 2 * tolerance)
        even = np.linspace(lowest - margin, highest + margin, STEPS + 1)
        return cls(even, np.union1d(even, _turns(scores)))

    def name(self, step: int) -> str:
        """The operating point of a step."""
        return f"step-{step:03d}"


def passed_threshold(similarities: Similarities, thresholds: NDArray[np.float64]) -> Similarities:
    """The strictest of ascending thresholds that each similarity passes; minus infinity for none."""
    position = np.searchsorted(thresholds, similarities, side="right") - 1
    return np.where(position >= 0, thresholds[np.maximum(position, 0)], -np.inf)


def _turns(scores: LabelledScores) -> NDArray[np.float64]:
    """Halfway between neighboring scores, except where both are of the same kind only: their order changes no AUC."""
    distinct = np.unique(scores.similarities)
    has_mated, has_others = np.isin(distinct, scores.mated), np.isin(distinct, scores.non_mated)
    is_turn = (has_mated[:-1] | has_mated[1:]) & (has_others[:-1] | has_others[1:])
    turns = np.flatnonzero(is_turn)
    if turns.size > _MOST_TURNS:
        turns = turns[np.linspace(0, turns.size - 1, _MOST_TURNS).astype(np.intp)]
    halfway: NDArray[np.float64] = (distinct[turns] + distinct[turns + 1]) / 2
    return halfway
