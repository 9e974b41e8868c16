"""Encryptors, one per key version, kept ready."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import PermissionDeniedError, Reason
from veilface.crypto.contract import PublicMaterial, TemplateEncryptor, TemplateSpace, TemplateUse
from veilface.crypto.renewal import OrthogonalTransform


def check_plaintext_probe(use: TemplateUse, key: PublicMaterial) -> None:
    """Refuse to hand out an embedding in the clear. Raises PermissionDeniedError POLICY_DENIED."""
    if use is TemplateUse.PLAINTEXT_PROBE and not key.plaintext_probe_allowed:
        raise PermissionDeniedError(
            Reason.POLICY_DENIED,
            f"the policy of {key.key_version} does not let a matching service see probes in the clear: ask for an "
            "encrypted probe, or change the key's policy",
        )


class EncryptorCache:
    """Encrypts under any public key. Safe to be called from several threads, whatever the encryptors are.

    Args:
        load: Makes an encryptor; slow enough to be worth keeping its result.
        capacity: How many are kept; the least recently used goes first.
    """

    def __init__(self, load: Callable[[PublicMaterial], TemplateEncryptor], capacity: int = 16) -> None:
        self._load = load
        self._capacity = capacity
        self._encryptors: OrderedDict[tuple[str, bytes], _LockedEncryptor] = OrderedDict()
        self._lock = threading.Lock()

    def encrypt(
        self, key: PublicMaterial, embedding: NDArray[np.float64], space: TemplateSpace, use: TemplateUse
    ) -> bytes:
        """See `TemplateEncryptor.encrypt`; also raises what loading the key raises."""
        return self._encryptor(key).encrypt(embedding, space, use)

    def _encryptor(self, key: PublicMaterial) -> "_LockedEncryptor":
        # A version's name alone does not fix its key: a key service may have been set up anew.
        identity = key.key_version, hashlib.sha256(key.public_key).digest()
        with self._lock:
            encryptor = self._encryptors.get(identity)
            if encryptor is None:
                encryptor = self._encryptors[identity] = _LockedEncryptor(self._load(key))
            self._encryptors.move_to_end(identity)
            while len(self._encryptors) > self._capacity:
                self._encryptors.popitem(last=False)
        return encryptor


class _LockedEncryptor:
    def __init__(self, encryptor: TemplateEncryptor) -> None:
        self._encryptor = encryptor
        self._lock = threading.Lock()

    def encrypt(self, embedding: NDArray[np.float64], space: TemplateSpace, use: TemplateUse) -> bytes:
        with self._lock:
            return self._encryptor.encrypt(embedding, space, use)


class TransformCache:
    """The secret transforms of key versions, kept ready. Safe to be called from several threads.

    Args:
        capacity: How many are kept; the least recently used goes first.
    """

    def __init__(self, capacity: int = 16) -> None:
        self._capacity = capacity
        self._transforms: OrderedDict[tuple[str, int], tuple[bytes, OrthogonalTransform]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key_version: str, seed: bytes, dimension: int) -> OrthogonalTransform:
        """The transform of a version for embeddings of a dimension."""
        with self._lock:
            kept = self._transforms.get((key_version, dimension))
            if kept is None or kept[0] != seed:
                kept = seed, OrthogonalTransform(seed, dimension)
                self._transforms[key_version, dimension] = kept
            self._transforms.move_to_end((key_version, dimension))
            while len(self._transforms) > self._capacity:
                self._transforms.popitem(last=False)
            return kept[1]
