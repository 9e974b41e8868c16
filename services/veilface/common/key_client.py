"""The client of services that need a key's public half: fetched once per version, checked and kept.

Evaluation keys are large, and whoever asks for them makes something of them that is kept instead: they are not.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

import grpc
import grpc.aio

from veilface.common.chunks import ChunkAssembler
from veilface.common.conversion import scheme_from_proto
from veilface.common.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    Reason,
    UnavailableError,
    VeilfaceError,
)
from veilface.common.names import KeyName, KeyVersionName, parse_key_or_version
from veilface.common.settings import MEBIBYTE
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import PublicMaterial
from veilface.crypto.renewal import SEED_BYTES
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

# What the key service says about the named key concerns the caller; its other troubles are this service's own.
_PASSED_ON = (NotFoundError, FailedPreconditionError, InvalidArgumentError)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyClientLimits:
    """Bounds of a `KeyMaterialClient`.

    Attributes:
        public_key_bytes: The largest public key accepted.
        evaluation_keys_bytes: The largest evaluation keys accepted.
        kept_bytes: How many bytes of public keys are kept, but always one key; the least recently used go first.
        versions: How many versions are kept at most, whatever their size.
        primary_age_s: How long it is remembered which version of a key is the primary one, and what its policy says.
        timeout_s: How long one fetch may take.
    """

    public_key_bytes: int = 64 * MEBIBYTE
    evaluation_keys_bytes: int = 512 * MEBIBYTE
    kept_bytes: int = 128 * MEBIBYTE
    versions: int = 16
    primary_age_s: float = 5.0
    timeout_s: float = 60.0


class KeyMaterialClient:
    """Fetches public and evaluation keys; concurrent callers share one fetch of a public key.

    Args:
        channel: To the key service. The caller closes it.
        limits: Bounds.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        limits: KeyClientLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stub = key_service_pb2_grpc.KeyServiceStub(channel)
        self._limits = limits or KeyClientLimits()
        self._clock = clock
        self._materials: OrderedDict[KeyVersionName, PublicMaterial] = OrderedDict()
        self._seeds: dict[KeyVersionName, bytes] = {}
        self._primaries: OrderedDict[KeyName, tuple[KeyVersionName, float]] = OrderedDict()
        self._locks: WeakValueDictionary[KeyName | KeyVersionName, asyncio.Lock] = WeakValueDictionary()

    async def fetch_public(self, name: str | KeyName | KeyVersionName) -> PublicMaterial:
        """The public key of a version, or of a key's primary version; `evaluation_keys` is empty.

        Raises:
            InvalidArgumentError: INVALID_NAME.
            NotFoundError, FailedPreconditionError: The key service's own answer about the key.
            UnavailableError: DEPENDENCY_UNAVAILABLE if the key service does not answer, or not as agreed.
            DataLossError: DIGEST_MISMATCH if the key arrived damaged.
        """
        return await self._public(_parse(name))

    async def fetch_evaluation(self, name: str | KeyName | KeyVersionName) -> PublicMaterial:
        """The public and evaluation keys of a version, or of a key's primary version; errors as for `fetch_public`.

        The evaluation keys are fetched at every call.
        """
        public = await self._public(_parse(name))
        fetched = await self._fetch_evaluation(KeyVersionName.parse(public.key_version))
        if (fetched.scheme, fetched.profile) != (public.scheme, public.profile):
            raise _not_as_agreed("the evaluation keys are for another scheme or profile than the public key")
        return replace(public, evaluation_keys=fetched.evaluation_keys)

    async def fetch_transform_seed(self, version: KeyVersionName) -> bytes:
        """The seed of a version's secret transform, 32 bytes. Kept in memory with the version's key material.

        Raises:
            PermissionDeniedError: The key service gives it to the embedding service only.
            NotFoundError, FailedPreconditionError: The key service's own answer about the key.
            UnavailableError: DEPENDENCY_UNAVAILABLE if the key service does not answer, or not as agreed.
        """
        async with self._lock(version):
            kept = self._seeds.get(version)
            if kept is not None:
                return kept
            request = key_service_pb2.GetTransformSeedRequest(name=str(version))
            try:
                response = await self._stub.GetTransformSeed(request, timeout=self._limits.timeout_s)
            except grpc.RpcError as error:
                raise _explain(error_from_rpc(error)) from error
            if response.key_version != str(version) or len(response.seed) != SEED_BYTES:
                raise _not_as_agreed("not the seed of this version")
            self._seeds[version] = response.seed
            while len(self._seeds) > self._limits.versions:
                del self._seeds[next(iter(self._seeds))]
            return response.seed

    def forget(self, key: KeyName) -> None:
        """Drop everything kept about a key."""
        for version in [version for version in self._seeds if version.key_name == key]:
            del self._seeds[version]
        self._primaries.pop(key, None)
        for version in [version for version in self._materials if version.key_name == key]:
            del self._materials[version]

    async def _public(self, name: KeyName | KeyVersionName) -> PublicMaterial:
        async with self._lock(name):
            version = self._current_version(name)
            kept = self._kept(version) if version is not None else None
            if kept is not None:
                return kept
            fetched = await self._fetch_public(name)
            version = KeyVersionName.parse(fetched.key_version)
            if isinstance(name, KeyName):
                self._primaries[name] = (version, self._clock())
                self._primaries.move_to_end(name)
                while len(self._primaries) > self._limits.versions:
                    self._primaries.popitem(last=False)
            # Also where the version is kept already: what the key's policy says may have changed.
            self._keep(version, fetched)
            return fetched

    def _current_version(self, name: KeyName | KeyVersionName) -> KeyVersionName | None:
        if isinstance(name, KeyVersionName):
            return name
        version, fetched_at = self._primaries.get(name, (None, 0.0))
        return version if self._clock() - fetched_at < self._limits.primary_age_s else None

    async def _fetch_public(self, name: KeyName | KeyVersionName) -> PublicMaterial:
        request = key_service_pb2.GetPublicKeyRequest(name=str(name))
        stream = self._stub.GetPublicKey(request, timeout=self._limits.timeout_s)
        material, public_key = await _receive(stream, name, "a public key", self._limits.public_key_bytes)
        return replace(material, public_key=public_key)

    async def _fetch_evaluation(self, name: KeyVersionName) -> PublicMaterial:
        request = key_service_pb2.GetEvaluationKeysRequest(name=str(name))
        stream = self._stub.GetEvaluationKeys(request, timeout=self._limits.timeout_s)
        material, keys = await _receive(stream, name, "evaluation keys", self._limits.evaluation_keys_bytes)
        return replace(material, evaluation_keys=keys)

    def _kept(self, version: KeyVersionName) -> PublicMaterial | None:
        kept = self._materials.get(version)
        if kept is not None:
            self._materials.move_to_end(version)
        return kept

    def _keep(self, version: KeyVersionName, material: PublicMaterial) -> None:
        self._materials[version] = material
        self._materials.move_to_end(version)
        while self._exceeds_limits():
            self._materials.popitem(last=False)

    def _exceeds_limits(self) -> bool:
        kept_bytes = sum(len(material.public_key) for material in self._materials.values())
        count = len(self._materials)
        return count > self._limits.versions or (count > 1 and kept_bytes > self._limits.kept_bytes)

    def _lock(self, name: KeyName | KeyVersionName) -> asyncio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock


def _parse(name: str | KeyName | KeyVersionName) -> KeyName | KeyVersionName:
    return parse_key_or_version(name) if isinstance(name, str) else name


async def _receive(
    stream: "grpc.aio.UnaryStreamCall[Any, Any]",
    name: KeyName | KeyVersionName,
    what: str,
    limit_bytes: int,
) -> tuple[PublicMaterial, bytes]:
    assembler = ChunkAssembler(what, limit_bytes)
    info: key_service_pb2.KeyMaterialInfo | None = None
    try:
        async for response in stream:
            if info is None:
                info = response.info
            assembler.add(response.chunk)
        data = assembler.finish()
        return _material(info or key_service_pb2.KeyMaterialInfo(), name), data
    except grpc.RpcError as error:
        raise _explain(error_from_rpc(error)) from error
    except InvalidArgumentError as error:
        if error.reason is Reason.DIGEST_MISMATCH:
            raise DataLossError(error.reason, error.message) from error
        raise _not_as_agreed(error.message) from error
    finally:
        stream.cancel()


def _material(info: key_service_pb2.KeyMaterialInfo, name: KeyName | KeyVersionName) -> PublicMaterial:
    version = KeyVersionName.parse(info.key_version)
    if name not in (version, version.key_name):
        raise _not_as_agreed(f"{version} was sent where {name} was asked for")
    if not info.profile:
        raise _not_as_agreed("the profile is missing")
    return PublicMaterial(
        scheme=scheme_from_proto(info.scheme),
        profile=info.profile,
        key_version=str(version),
        public_key=b"",
        evaluation_keys=b"",
        plaintext_probe_allowed=info.plaintext_probe_allowed,
        embedding_transform=info.embedding_transform,
        importers=tuple(info.import_grant.identities) if info.HasField("import_grant") else None,
    )


def _explain(error: VeilfaceError) -> VeilfaceError:
    if isinstance(error, _PASSED_ON):
        return error
    return UnavailableError(
        Reason.DEPENDENCY_UNAVAILABLE, f"the key service does not give its keys ({error.reason}): {error.message}"
    )


def _not_as_agreed(problem: str) -> UnavailableError:
    return UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, f"the key service does not answer as agreed: {problem}")
