"""Embeddings as integers: one fixed scale for every scheme, side and dimension.

x -> round(2000 x), of either sign. The integer score of two templates is exactly the integer inner product (or the
integer squared distance), so that the only error of a comparison is rounding: about 2e-4 of cosine in the mean square
(sqrt(2/12) / 2000), below 1e-3 for all but one in a million pairs (see `rounding`). 2000 is the largest round number
whose scores fit 23 bits with their sign for every dimension up to 4096; five bits fewer per slot would be half as
precise on each side.

A scale instead of LightPHE's min-max shift: shifting makes every coordinate positive, but changes the metric.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.crypto.contract import Metric, TemplateSpace
from veilface.crypto.public.packed.space import NORM_TOLERANCE, checked_embedding

SCALE: Final = 2000


def largest_squared_norm(dimension: int) -> int:
    """The largest squared norm of an embedding as integers: rounding adds up to sqrt(dimension) / 2 to the norm."""
    return math.floor((SCALE * (1 + NORM_TOLERANCE) + math.sqrt(dimension) / 2) ** 2)


def quantize(embedding: NDArray[np.float64], space: TemplateSpace) -> NDArray[np.int64]:
    """The embedding as integers, shape (dimension,).

    Raises:
        InvalidArgumentError: WRONG_DIMENSION or EMBEDDING_OUT_OF_RANGE.
    """
    return np.rint(checked_embedding(embedding, space) * SCALE).astype(np.int64)


def reference_coordinates(integers: NDArray[np.int64], space: TemplateSpace) -> NDArray[np.int64]:
    """What is encrypted of a reference: the integers and, for squared Euclidean, their squared norm."""
    if space.metric is Metric.COSINE:
        return integers
    return np.append(integers, integers @ integers)


def coordinate_count(space: TemplateSpace) -> int:
    """How many ciphertexts a reference has."""
    return space.dimension + (space.metric is Metric.SQUARED_EUCLIDEAN)


def score_from_integer(integer: int) -> float:
    """The comparison score in units of the metric."""
    return integer / (SCALE * SCALE)
