"""Renewable templates: a secret orthogonal transform of embeddings before they are encrypted.

Rounds of random signs, a fast Walsh-Hadamard transform and a permutation, all drawn from a seed (the structured
orthogonal transforms of Ailon and Chazelle 2009, here keyed). Inner products and distances stay as they are, so scores
do; but the template under one seed says nothing to somebody who holds another. A new seed with a new key version
revokes what leaked under the old one (ISO/IEC 24745: renewability and unlinkability).
"""

from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason

SEED_BYTES: Final = 32
_ROUNDS: Final = 4


def _random_words(seed: bytes | bytearray | memoryview, dimension: int, round_number: int) -> NDArray[np.uint64]:
    """2 * dimension words that depend on nothing but the arguments."""
    info = f"veilface.renewal.v1 dimension {dimension} round {round_number}".encode()
    key = HKDF(SHA256(), 32, salt=None, info=info).derive(bytes(seed))
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(16 * dimension))
    return np.frombuffer(stream, dtype="<u8")


def _walsh_hadamard(values: NDArray[np.float64]) -> None:
    """The orthonormal transform of the last axis, in place; its length is a power of two. Its own inverse."""
    length = values.shape[-1]
    half = 1
    while half < length:
        pairs = values.reshape(*values.shape[:-1], length // (2 * half), 2, half)
        left, right = pairs[..., 0, :].copy(), pairs[..., 1, :].copy()
        pairs[..., 0, :] = left + right
        pairs[..., 1, :] = left - right
        half *= 2
    values /= np.sqrt(length)


class OrthogonalTransform:
    """The transform that a seed selects for embeddings of one dimension.

    Args:
        seed: 32 secret bytes.
        dimension: Of the embeddings.

    Raises:
        InvalidArgumentError: INVALID_FIELD for a seed of another size.
    """

    def __init__(self, seed: bytes | bytearray | memoryview, dimension: int) -> None:
        if len(seed) != SEED_BYTES:
            raise InvalidArgumentError(Reason.INVALID_FIELD, f"a renewal seed has {SEED_BYTES} bytes")
        self._window = 1 << (dimension.bit_length() - 1)
        self._signs: list[NDArray[np.float64]] = []
        self._orders: list[NDArray[np.intp]] = []
        for number in range(_ROUNDS):
            words = _random_words(seed, dimension, number)
            self._signs.append(1.0 - 2.0 * (words[:dimension] & np.uint64(1)).astype(np.float64))
            self._orders.append(np.argsort(words[dimension:], kind="stable"))

    def __repr__(self) -> str:
        return "<OrthogonalTransform>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a renewal transform is secret and is not serialized")

    def wipe(self) -> None:
        """Overwrite the transform; the object is useless afterwards."""
        for part in (*self._signs, *self._orders):
            part.fill(0)

    def apply(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """The transformed embeddings, shape (..., dimension)."""
        result = np.array(embeddings, dtype=np.float64)
        for signs, order in zip(self._signs, self._orders, strict=True):
            result *= signs
            _walsh_hadamard(result[..., : self._window])
            result = np.ascontiguousarray(result[..., order])
        return result

    def invert(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        """The embeddings that `apply` turns into these, shape (..., dimension)."""
        result = np.array(embeddings, dtype=np.float64)
        for signs, order in zip(reversed(self._signs), reversed(self._orders), strict=True):
            restored = np.empty_like(result)
            restored[..., order] = result
            _walsh_hadamard(restored[..., : self._window])
            result = restored * signs
        return result
