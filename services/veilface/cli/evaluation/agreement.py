"""Whether decisions on encrypted templates are those that plaintext scores give."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from veilface.cli.evaluation.encrypted import EncryptedDecisions
from veilface.cli.evaluation.scores import Similarities


@dataclass(frozen=True, slots=True)
class Agreement:
    """Decisions with and without encryption.

    Attributes:
        compared: Decisions at thresholds further than the tolerance from the plaintext score.
        different: Of these, how many differ. None should.
        within_tolerance: Decisions whose plaintext score is closer to the threshold.
        different_within_tolerance: Of these, how many differ. Some may.
    """

    compared: int
    different: int
    within_tolerance: int
    different_within_tolerance: int

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.compared + other.compared,
            self.different + other.different,
            self.within_tolerance + other.within_tolerance,
            self.different_within_tolerance + other.different_within_tolerance,
        )


def agreement_at(
    similarities: Similarities, decisions: EncryptedDecisions, threshold: float, tolerance: float
) -> Agreement:
    """Compare decisions at one threshold.

    Args:
        similarities: Of the decided pairs, in float64; shape (pairs,).
        decisions: Of the key service.
        threshold: As a similarity.
        tolerance: How far encryption may move a score: `crypto.public.registry.score_tolerance`.
    """
    differs = (similarities >= threshold) != decisions.matches(threshold)
    is_near = np.abs(similarities - threshold) < tolerance
    return Agreement(
        int(np.count_nonzero(~is_near)),
        int(np.count_nonzero(differs & ~is_near)),
        int(np.count_nonzero(is_near)),
        int(np.count_nonzero(differs & is_near)),
    )


def agreement_over(
    similarities: Similarities, decisions: EncryptedDecisions, thresholds: Iterable[float], tolerance: float
) -> Agreement:
    """Compare decisions at several thresholds."""
    total = Agreement(0, 0, 0, 0)
    for threshold in thresholds:
        total += agreement_at(similarities, decisions, threshold, tolerance)
    return total
