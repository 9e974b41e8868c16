"""What re-encryption does with an embedding between decryption and encryption, in every scheme.

Whoever sends ciphertexts to be re-encrypted may have made them up. If anything that it sees depended on what they
decrypt to, it could read the secret key bit by bit (Li and Micciancio, Eurocrypt 2021, and reaction attacks before).
So what is no embedding is replaced, silently and at the same cost, and only counted.
"""

import secrets

import numpy as np
from numpy.typing import NDArray

from veilface.crypto.contract import SecretBytes
from veilface.crypto.renewal import OrthogonalTransform
from veilface.crypto.secret.guarded import Guarded


class Renewal(Guarded):
    """The change of the secret transform from one key version to the next.

    Args:
        seeds: The renewal seeds of source and target, copied; None if the key has none, and nothing changes.
    """

    def __init__(self, seeds: tuple[SecretBytes, SecretBytes] | None) -> None:
        self._seeds = () if seeds is None else (bytearray(seeds[0]), bytearray(seeds[1]))
        self._transforms: dict[int, tuple[OrthogonalTransform, OrthogonalTransform]] = {}
        self._is_wiped = False

    @property
    def changes(self) -> bool:
        """Whether embeddings change at all."""
        return bool(self._seeds)

    def apply(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """Embeddings, shape (..., dimension), under the target's transform instead of the source's."""
        if self._is_wiped:
            raise RuntimeError("the renewal seeds were wiped")
        if not self._seeds:
            return embeddings
        dimension = embeddings.shape[-1]
        if dimension not in self._transforms:
            source, target = (OrthogonalTransform(seed, dimension) for seed in self._seeds)
            self._transforms[dimension] = (source, target)
        before, after = self._transforms[dimension]
        return after.apply(before.invert(embeddings))

    def wipe(self) -> None:
        """Overwrite the seeds and the transforms; the object is useless afterwards."""
        self._is_wiped = True
        for seed in self._seeds:
            seed[:] = bytes(len(seed))
        for pair in self._transforms.values():
            for transform in pair:
                transform.wipe()
        self._transforms.clear()


def random_unit_vector(dimension: int) -> NDArray[np.float64]:
    """What stands in for what is no embedding, shape (dimension,): a direction that nobody knows, so none resembles."""
    vector = np.random.default_rng(secrets.randbits(256)).standard_normal(dimension)
    direction: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return direction


def replace_implausible(
    vectors: NDArray[np.float64], lowest_norm: float, largest_norm: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The vectors (count, dimension) with a stand-in for each whose norm is out of range, and which those are."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(vectors, axis=1)
    is_implausible = ~((norms >= lowest_norm) & (norms <= largest_norm))
    return np.where(is_implausible[:, None], random_unit_vector(vectors.shape[1]), vectors), is_implausible
