"""The comparers of key versions, made from the evaluation keys that the key service gives out."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol
from weakref import WeakValueDictionary

from veilface.common.pool import BoundedPool
from veilface.common.settings import MEBIBYTE
from veilface.crypto.contract import PublicMaterial, TemplateComparer, TemplateSpace

_LOOP_SEGMENT_CAPACITY: Final = 1
# What a comparer without evaluation keys counts for.
_SMALLEST_BYTES: Final = MEBIBYTE


class KeyMaterial(Protocol):
    """Where public and evaluation keys come from: `common.key_client.KeyMaterialClient`."""

    async def fetch_public(self, name: str) -> PublicMaterial:
        """The public key of "keys/{key}" (its primary version) or "keys/{key}/versions/{version}"."""
        ...

    async def fetch_evaluation(self, name: str) -> PublicMaterial:
        """The same with the evaluation keys."""
        ...


class Comparers:
    """Makes each comparer once and keeps the most recently used. The bytes it was made of are not kept.

    Args:
        keys: Where keys come from.
        load: Makes a comparer: `crypto.public.registry.load_comparer`.
        compute: Where CPU work runs.
        kept_bytes: How many bytes of evaluation keys the kept comparers were made of, but one is always kept.
    """

    def __init__(
        self,
        keys: KeyMaterial,
        load: Callable[[PublicMaterial], TemplateComparer],
        compute: BoundedPool,
        kept_bytes: int = 1024 * MEBIBYTE,
    ) -> None:
        self._keys = keys
        self._load = load
        self._compute = compute
        self._kept_bytes = kept_bytes
        self._comparers: OrderedDict[str, tuple[TemplateComparer, int]] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def describe_key(self, name: str) -> PublicMaterial:
        """The key version that a key name stands for; its evaluation keys are left out.

        Raises:
            NotFoundError, FailedPreconditionError: The key service's answer about the key.
            UnavailableError: If the key service does not answer.
        """
        return await self._keys.fetch_public(name)

    async def get(self, key_version: str) -> TemplateComparer:
        """The comparer of a key version; errors as for `describe_key`."""
        lock = self._locks.setdefault(key_version, asyncio.Lock())
        async with lock:
            if key_version not in self._comparers:
                material = await self._keys.fetch_evaluation(key_version)
                comparer = await self._compute.run(self._load, material)
                self._comparers[key_version] = comparer, max(len(material.evaluation_keys), _SMALLEST_BYTES)
                self._drop_least_recently_used()
            self._comparers.move_to_end(key_version)
            return self._comparers[key_version][0]

    def _drop_least_recently_used(self) -> None:
        while len(self._comparers) > 1 and sum(size for _, size in self._comparers.values()) > self._kept_bytes:
            self._comparers.popitem(last=False)


def segment_capacity(comparer: TemplateComparer, space: TemplateSpace) -> int:
    """How many slots a segment has; 1 where 1:N is a loop of comparisons, so that each has a score batch of its own."""
    return comparer.new_segment(space).capacity if comparer.supports_search else _LOOP_SEGMENT_CAPACITY
