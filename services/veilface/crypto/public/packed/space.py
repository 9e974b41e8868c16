"""From embeddings to the coordinates that are encrypted, such that the inner product of coordinates tells the score.

Cosine: the L2-normalised embedding itself. Squared Euclidean, halved and centred: with h(v) = (|v|^2 - 1) / 2,

    (-g, 2 h(g), 1/2) . (q, 1/2, 2 h(q)) = |g - q|^2 / 2 - 1

so that both metrics lie in [-1, 1] and no side is longer than 1.12 (noise grows with that length).

Probes are shortened to 15/16, because scores fill the residues of the limb that carries them: they would wrap around
at 1 / 0.9375 = 1.067 of what an embedding may have.

With an integer norm N everything is an integer instead, and nothing is shortened. Embeddings compared by cosine are
rounded coordinate by coordinate. Those compared by squared Euclidean distance are rounded to the nearest point with an
even sum (the lattice D_d; Conway and Sloane, "Fast quantizing and decoding", 1982): squared norms are even there, so
that half a distance is an integer too. N^2 h is split into two balanced digits in base N / 2.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.packed.profiles import PackedProfile

NORM_TOLERANCE: Final = 1e-3
_PROBE_LENGTH: Final = 15 / 16


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


def checked_embeddings(embeddings: NDArray[np.floating], space: TemplateSpace) -> NDArray[np.floating]:
    """The embeddings (count, dimension), finite; of norm 1 for cosine, at most 1 for squared Euclidean.

    Raises:
        InvalidArgumentError: WRONG_DIMENSION or EMBEDDING_OUT_OF_RANGE.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != space.dimension:
        raise InvalidArgumentError(
            Reason.WRONG_DIMENSION,
            f"expected embeddings of shape ({space.dimension},), got {embeddings.shape[1:]}",
        )
    norms = np.sqrt(_squares(embeddings))
    low = 1.0 - NORM_TOLERANCE if space.metric is Metric.COSINE else 0.0
    if not np.all((norms >= low) & (norms <= 1.0 + NORM_TOLERANCE)):
        raise InvalidArgumentError(
            Reason.EMBEDDING_OUT_OF_RANGE,
            "an embedding compared by cosine must be L2-normalised; one compared by squared Euclidean distance must be "
            "scaled to a norm of at most 1",
        )
    return embeddings


def checked_embedding(embedding: NDArray[np.float64], space: TemplateSpace) -> NDArray[np.float64]:
    """One embedding as float64 of shape (dimension,), checked like `checked_embeddings`."""
    vector = np.asarray(embedding, dtype=np.float64)
    checked_embeddings(vector[None], space)
    return vector


def _squares(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """The squared norms (count,) of vectors (count, dimension)."""
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return squares


def _with_even_sums(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """The nearest integer vectors whose coordinates add up to an even number."""
    rounded: NDArray[np.floating] = np.rint(vectors)
    odd = np.flatnonzero(rounded.sum(axis=1) % 2)
    rest = vectors[odd] - rounded[odd]
    worst = np.argmax(np.abs(rest), axis=1)
    rounded[odd, worst] += np.where(rest[np.arange(odd.size), worst] < 0, -1, 1)
    return rounded


def coordinates(
    embeddings: NDArray[np.floating], space: TemplateSpace, use: TemplateUse, profile: PackedProfile
) -> NDArray[np.floating]:
    """One side of comparisons, shape (count, coordinate_count), from embeddings (count, dimension).

    The inner products of two sides are what `scores_of` takes, times `integer_norm` squared if there is one.

    Raises:
        InvalidArgumentError: WRONG_DIMENSION, also if they do not fit one ciphertext, or EMBEDDING_OUT_OF_RANGE.
    """
    coordinate_count(space, profile)
    vectors = checked_embeddings(embeddings, space)
    is_reference = use is TemplateUse.REFERENCE
    norm = profile.integer_norm
    length = _PROBE_LENGTH if norm is None and not is_reference else 1.0
    if space.metric is Metric.COSINE:
        return vectors * length if norm is None else np.rint(vectors * norm)
    if norm is None:
        base, digits = 0.5, [_squares(vectors) - 1.0]
    else:
        vectors = _with_even_sums(vectors * norm)
        base = norm / 2
        half = (_squares(vectors) - norm**2) / 2
        high = np.rint(half / base)
        digits = [high, half - base * high]
    weights = [np.full(vectors.shape[0], weight) for weight in (base, 1.0)[: len(digits)]]
    extra = (*digits, *weights) if is_reference else (*weights, *digits)
    side = np.column_stack([-vectors if is_reference else vectors, *extra]).astype(vectors.dtype, copy=False)
    return side if length == 1.0 else side * length


def embeddings_of(
    values: NDArray[np.float64], space: TemplateSpace, use: TemplateUse, profile: PackedProfile
) -> NDArray[np.float64]:
    """The embeddings (count, dimension) behind coordinates (count, coordinate_count) that were decrypted with noise.

    With an integer norm, the coordinates are given in units of it and the noise is rounded away.
    """
    vectors = values[:, : space.dimension]
    is_reference = use is TemplateUse.REFERENCE
    if profile.integer_norm is not None:
        vectors = np.rint(vectors * profile.integer_norm) / profile.integer_norm
    elif not is_reference:
        vectors = vectors / _PROBE_LENGTH
    return -vectors if is_reference and space.metric is Metric.SQUARED_EUCLIDEAN else vectors


def scores_of(products: NDArray[np.float64], space: TemplateSpace, profile: PackedProfile) -> NDArray[np.float64]:
    """The scores (count,), in units of the metric, from decrypted inner products of coordinates.

    With an integer norm, the products are given in units of its square and the noise is rounded away.
    """
    if profile.integer_norm is None:
        products = products / _PROBE_LENGTH
    else:
        products = np.rint(products * profile.integer_norm**2) / profile.integer_norm**2
    return products if space.metric is Metric.COSINE else 2.0 * (products + 1.0)
