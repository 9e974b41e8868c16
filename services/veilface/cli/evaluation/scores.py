"""Comparison scores of labelled pairs, as similarities: the higher, the more alike."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from veilface.crypto.contract import Metric

Similarities = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """Similarities of pairs and the truth about them.

    Attributes:
        similarities: Shape (pairs,).
        is_mated: Shape (pairs,), of bool.
    """

    similarities: Similarities = field(repr=False)
    is_mated: NDArray[np.bool_] = field(repr=False)

    @property
    def mated(self) -> Similarities:
        """Similarities of mated pairs."""
        return self.similarities[self.is_mated]

    @property
    def non_mated(self) -> Similarities:
        """Similarities of non-mated pairs."""
        return self.similarities[~self.is_mated]


def similarity(score: float, metric: Metric) -> float:
    """A score or threshold in units of the metric as a similarity: a distance changes its sign."""
    return score if metric is Metric.COSINE else -score


def score_of(similarity_value: float, metric: Metric) -> float:
    """The inverse of `similarity`."""
    return similarity(similarity_value, metric)


def pair_similarities(
    embeddings: NDArray[np.float64], first: NDArray[np.intp], second: NDArray[np.intp], metric: Metric
) -> Similarities:
    """Similarities of pairs in float64, exactly as a key service without encryption would see them.

    Args:
        embeddings: Shape (photographs, dimension), as they are encrypted.
        first: Rows, shape (pairs,).
        second: Rows, shape (pairs,).
        metric: The cosine itself, or the squared distance with its sign changed.
    """
    result = np.empty(first.size)
    # In blocks: the gathered rows of millions of pairs would not fit into memory.
    for start in range(0, first.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        a, b = embeddings[first[block]], embeddings[second[block]]
        if metric is Metric.COSINE:
            result[block] = np.einsum("ij,ij->i", a, b)
        else:
            difference = a - b
            result[block] = -np.einsum("ij,ij->i", difference, difference)
    return result


_BLOCK = 8192
