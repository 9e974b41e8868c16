"""Encryptors, one per key version, kept ready."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from veilface.crypto.contract import PublicMaterial, TemplateEncryptor, TemplateSpace, TemplateUse


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
