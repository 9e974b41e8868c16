"""How an embedding fills the slots of a vector.

TenSEAL repeats a vector until the slots are full, and sums it up by rotations. If its length divides the number of
slots, every slot ends up with the whole sum; otherwise most slots hold sums over other stretches of the coordinates,
which tell the holder of the secret key more than the score. Embeddings are therefore padded with zeros to a power of
two.
"""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile
from veilface.crypto.public.packed.space import checked_embedding


def vector_size(space: TemplateSpace, profile: CkksTensealProfile) -> int:
    """The length of a vector: the dimension rounded up to a power of two.

    Raises:
        InvalidArgumentError: WRONG_DIMENSION if the slots are fewer.
    """
    size = 1 << (space.dimension - 1).bit_length()
    if size > profile.slot_count:
        raise InvalidArgumentError(
            Reason.WRONG_DIMENSION, f"profile {profile.name} takes at most {profile.slot_count} dimensions"
        )
    return size


def padded(embedding: NDArray[np.float64], space: TemplateSpace, profile: CkksTensealProfile) -> NDArray[np.float64]:
    """The embedding with zeros behind, shape (vector_size,).

    Raises:
        InvalidArgumentError: WRONG_DIMENSION or EMBEDDING_OUT_OF_RANGE.
    """
    vector = np.zeros(vector_size(space, profile))
    vector[: space.dimension] = checked_embedding(embedding, space)
    return vector
