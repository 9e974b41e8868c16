"""Embeddings for tests, and the scores that plain integers give."""

import numpy as np
from numpy.typing import NDArray

from veilface.crypto.contract import Metric, TemplateSpace
from veilface.crypto.public.phe.quantization import quantize


def embeddings(count: int, dimension: int, seed: int) -> NDArray[np.float64]:
    """Unit vectors, shape (count, dimension)."""
    values = np.random.default_rng(seed).normal(size=(count, dimension))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def integer_scores(references: NDArray[np.float64], probe: NDArray[np.float64], space: TemplateSpace) -> list[int]:
    """What an encrypted comparison must equal exactly."""
    g = np.stack([quantize(reference, space) for reference in references])
    q = quantize(probe, space)
    scores = g @ q if space.metric is Metric.COSINE else ((g - q) ** 2).sum(axis=1)
    return [int(score) for score in scores]
