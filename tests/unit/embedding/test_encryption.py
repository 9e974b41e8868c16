from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from veilface.crypto.contract import PublicMaterial, TemplateSpace, TemplateUse
from veilface.embedding.domain.encryption import EncryptorCache

SPACE = TemplateSpace(4)
EMBEDDING = np.array([0.5, 0.5, 0.5, 0.5])


class CountingEncryptor:
    """Answers with its key; fails when two threads are inside at once."""

    def __init__(self, key: PublicMaterial) -> None:
        self._key = key
        self._busy = False

    def encrypt(self, embedding: NDArray[np.float64], space: TemplateSpace, use: TemplateUse) -> bytes:
        assert not self._busy
        self._busy = True
        sum(range(20_000))
        self._busy = False
        return self._key.public_key


class Loader:
    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, key: PublicMaterial) -> CountingEncryptor:
        self.loaded.append(key.key_version)
        return CountingEncryptor(key)


def version(key: PublicMaterial, number: int) -> PublicMaterial:
    return replace(key, key_version=f"keys/staff/versions/{number}", public_key=b"%d" % number)


def encrypt(cache: EncryptorCache, key: PublicMaterial) -> bytes:
    return cache.encrypt(key, EMBEDDING, SPACE, TemplateUse.PROBE)


def test_an_encryptor_is_loaded_once(key: PublicMaterial) -> None:
    loader = Loader()
    cache = EncryptorCache(loader)
    assert encrypt(cache, key) == encrypt(cache, key)
    assert len(loader.loaded) == 1


def test_another_key_under_the_same_name_is_another_encryptor(key: PublicMaterial) -> None:
    cache = EncryptorCache(Loader())
    assert encrypt(cache, replace(key, public_key=b"old")) == b"old"
    assert encrypt(cache, replace(key, public_key=b"new")) == b"new"


def test_the_least_recently_used_encryptor_goes_first(key: PublicMaterial) -> None:
    loader = Loader()
    cache = EncryptorCache(loader, capacity=2)
    for number in (1, 2, 1, 3, 1, 2):
        encrypt(cache, version(key, number))
    assert [name.rpartition("/")[2] for name in loader.loaded] == ["1", "2", "3", "2"]


def test_one_encryptor_serves_one_thread_at_a_time(key: PublicMaterial) -> None:
    cache = EncryptorCache(Loader())
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: encrypt(cache, key), range(64)))
    assert set(results) == {key.public_key}
