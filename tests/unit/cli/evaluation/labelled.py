"""Labelled scores for tests."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from veilface.cli.evaluation.scores import LabelledScores


def labelled(mated: Sequence[float], non_mated: Sequence[float]) -> LabelledScores:
    """Scores of mated pairs, then of others."""
    is_mated = np.array([True] * len(mated) + [False] * len(non_mated))
    return LabelledScores(np.array([*mated, *non_mated], dtype=np.float64), is_mated)


# On a grid, so that there are ties and nothing depends on the last bit.
similarities = st.integers(-200, 200).map(lambda number: number / 200)
labelled_scores = st.builds(
    labelled, st.lists(similarities, min_size=1, max_size=40), st.lists(similarities, min_size=1, max_size=40)
)
