"""Comparers are kept, the evaluation keys that they were made of are not."""

import asyncio

import pytest

from veilface.common.pool import BoundedPool
from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.matching.domain.comparers import Comparers

MEBIBYTE = 1 << 20


class CountedKeys:
    """Stands for the key service's client; each version's evaluation keys have as many MiB as its number."""

    def __init__(self):
        self.fetched = []

    async def fetch_public(self, name):
        return PublicMaterial(Scheme.CKKS_PACKED, "ckks-packed-128", name, b"public", b"")

    async def fetch_evaluation(self, name):
        self.fetched.append(name)
        await asyncio.sleep(0)
        size = int(name) * MEBIBYTE
        return PublicMaterial(Scheme.CKKS_PACKED, "ckks-packed-128", name, b"public", bytes(size))


@pytest.fixture
def compute():
    pool = BoundedPool(1, 64, "compute")
    yield pool
    pool.close()


@pytest.fixture
def keys():
    return CountedKeys()


def comparers(keys, compute, kept_bytes):
    return Comparers(keys, lambda material: material.key_version, compute, kept_bytes)


async def test_evaluation_keys_are_fetched_once_however_many_ask_at_once(keys, compute):
    kept = comparers(keys, compute, 10 * MEBIBYTE)
    assert await asyncio.gather(*(kept.get("2") for _ in range(10))) == ["2"] * 10
    assert await kept.get("2") == "2"
    assert keys.fetched == ["2"]


async def test_the_least_recently_used_is_dropped_when_the_keys_take_more_bytes_than_allowed(keys, compute):
    kept = comparers(keys, compute, 5 * MEBIBYTE)
    for version in ("2", "3", "2", "1", "2", "3"):
        await kept.get(version)
    assert keys.fetched == ["2", "3", "1", "3"]


async def test_one_comparer_is_kept_however_large(keys, compute):
    kept = comparers(keys, compute, MEBIBYTE)
    for version in ("3", "3", "2", "2"):
        await kept.get(version)
    assert keys.fetched == ["3", "2"]


async def test_a_comparer_without_evaluation_keys_counts_too(keys, compute):
    kept = comparers(keys, compute, 2 * MEBIBYTE)
    for version in ("0", "1", "00", "1", "0"):
        await kept.get(version)
    assert keys.fetched == ["0", "1", "00", "0"]
