"""From embeddings to the coordinates that are encrypted, such that the inner product of coordinates is the score.

Cosine: the L2-normalised embedding itself. Squared Euclidean: two more coordinates, (-2 g, |g|^2, 1) . (q, 1,
|q|^2) = |g - q|^2, halved to stay within [0, 2]; decryption reads residues around the middle of that range. With an
integer norm the embedding is rounded to integers first and the squared norms are split in base `integer_norm`, so
that no coordinate outgrows the others.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.packed.profiles import PackedProfile

NORM_TOLERANCE: Final = 1e-3
_DISTANCE_DIVISOR: Final = 2.0


def coordinate_count(space: TemplateSpace, profile: PackedProfile) -> int:
    """How many coordinates are encrypted per template.

    Raises:
        InvalidArgumentError: WRONG_DIMENSION if they do not fit one ciphertext.
    """
    extra = 0
    if space.metric is Metric.SQUARED_EUCLIDEAN:
        extra = 2 if profile.integer_norm is None else 4
    count = space.dimension + extra
    if count > profile.degree:
        raise InvalidArgumentError(
            Reason.WRONG_DIMENSION,
            f"{space.dimension} dimensions compared by {space.metric} need {count} coefficients; profile "
            f"{profile.name} has {profile.degree}: choose one with a larger ring degree",
        )
    return count


def checked_embedding(embedding: NDArray[np.float64], space: TemplateSpace) -> NDArray[np.float64]:
    """The embedding as float64 of shape (dimension,), finite; norm 1 for cosine, at most 1 for squared Euclidean.

    Raises:
        InvalidArgumentError: WRONG_DIMENSION or EMBEDDING_OUT_OF_RANGE.
    """
    vector = np.asarray(embedding, dtype=np.float64)
    if vector.shape != (space.dimension,):
        raise InvalidArgumentError(
            Reason.WRONG_DIMENSION, f"expected an embedding of shape ({space.dimension},), got {vector.shape}"
        )
    norm = float(np.linalg.norm(vector))
    low = 1.0 - NORM_TOLERANCE if space.metric is Metric.COSINE else 0.0
    if not low <= norm <= 1.0 + NORM_TOLERANCE:
        raise InvalidArgumentError(
            Reason.EMBEDDING_OUT_OF_RANGE,
            "an embedding compared by cosine must be L2-normalised; one compared by squared Euclidean distance must be "
            "scaled to a norm of at most 1",
        )
    return vector


def coordinates(
    embedding: NDArray[np.float64], space: TemplateSpace, use: TemplateUse, profile: PackedProfile
) -> NDArray[np.float64]:
    """The coordinates of one side of a comparison, shape (coordinate_count,).

    The inner product of two sides times `score_unit` is the score. With an integer norm they are integers.
    """
    vector = checked_embedding(embedding, space)
    unit = 1.0
    if profile.integer_norm is not None:
        unit = float(profile.integer_norm)
        vector = np.rint(vector * unit)
    if space.metric is Metric.COSINE:
        return vector
    square = float(vector @ vector)
    if profile.integer_norm is None:
        if use is TemplateUse.REFERENCE:
            return np.concatenate([-2.0 * vector, [square, 1.0]]) / _DISTANCE_DIVISOR
        return np.concatenate([vector, [1.0, square]])
    high, low = divmod(square, unit)
    if use is TemplateUse.REFERENCE:
        return np.concatenate([-2.0 * vector, [high, low, unit, 1.0]])
    return np.concatenate([vector, [unit, 1.0, high, low]])


def score_unit(space: TemplateSpace, profile: PackedProfile) -> float:
    """What to multiply a decrypted inner product of coordinates by, to get the score."""
    if profile.integer_norm is not None:
        return 1.0 / (profile.integer_norm * profile.integer_norm)
    return _DISTANCE_DIVISOR if space.metric is Metric.SQUARED_EUCLIDEAN else 1.0


def score_center(space: TemplateSpace, profile: PackedProfile) -> float:
    """The middle of the range of inner products of coordinates."""
    if profile.integer_norm is None and space.metric is Metric.SQUARED_EUCLIDEAN:
        return 1.0
    return 0.0
