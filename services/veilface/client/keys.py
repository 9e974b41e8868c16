"""Keys by name. Their secret halves stay in the key service; nothing here could hold one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from veilface.client.calls import ServiceCalls, Trail, pages
from veilface.client.names import parse_key, parse_version
from veilface.common.conversion import scheme_from_proto, scheme_to_proto
from veilface.crypto.contract import Scheme
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc, policy_pb2

_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVersion:
    """A version of a key.

    Attributes:
        name: "keys/{key}/versions/{version}".
        state: "enabled", "disabled", "destroy scheduled" or "destroyed".
        public_key_sha256: The fingerprint to compare out of band, in hexadecimal.
        public_key_bytes: The size of its public key.
        evaluation_keys_bytes: The size of its evaluation keys.
        destroy_time: When its secret key will be or was destroyed; None before that is scheduled.
    """

    name: str
    version: int
    state: str
    create_time: datetime
    public_key_sha256: str
    public_key_bytes: int
    evaluation_keys_bytes: int
    destroy_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A named keyset.

    Attributes:
        name: "keys/{key}".
        profile: The parameter profile, for example "ckks-packed-128".
        primary_version: The version that new templates are encrypted under.
        minimum_version: Older versions are refused.
        embedding_transform: Whether embeddings pass a secret transform, one per version, before encryption.
        versions: Every version, oldest first.
    """

    name: str
    scheme: Scheme
    profile: str
    primary_version: int
    minimum_version: int
    embedding_transform: bool
    versions: tuple[KeyVersion, ...]
    create_time: datetime


class Keys:
    """The keys of the key service.

    Args:
        channel: To the key service.
        calls: How calls to it are made.
    """

    def __init__(self, channel: grpc.Channel, calls: ServiceCalls) -> None:
        self._stub = key_service_pb2_grpc.KeyServiceStub(channel)
        self._calls = calls

    def create(
        self,
        key: str,
        scheme: Scheme | None = None,
        profile: str = "",
        policy: policy_pb2.KeyPolicy | None = None,
        *,
        embedding_transform: bool = False,
    ) -> Key:
        """Create a key with version 1. Needs the operator's identity.

        Args:
            key: Its id or name.
            scheme: None selects the service's default.
            profile: The parameters; empty selects the scheme's default.
            policy: What the key may be used for; None selects the shipped policy.
            embedding_transform: Whether embeddings pass a secret transform, one per version, before encryption.

        Raises:
            AlreadyExistsError: KEY_EXISTS.
            InvalidArgumentError: INVALID_NAME or UNKNOWN_PROFILE.
            PermissionDeniedError: IDENTITY_DENIED.
        """
        request = key_service_pb2.CreateKeyRequest(
            key_id=parse_key(key).key, profile=profile, policy=policy, embedding_transform=embedding_transform
        )
        if scheme is not None:
            request.scheme = scheme_to_proto(scheme)
        return key_from_proto(self._calls.unary(self._stub.CreateKey, "CreateKey", request, Trail()))

    def get(self, key: str, trail: Trail | None = None) -> Key:
        """Describe a key. Raises NotFoundError KEY_NOT_FOUND."""
        request = key_service_pb2.GetKeyRequest(name=str(parse_key(key)))
        return key_from_proto(self._calls.unary(self._stub.GetKey, "GetKey", request, trail or Trail()))

    def rotate(self, key: str) -> Key:
        """Make a new version the primary one. Needs the operator's identity. What is stored stays where it is.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            FailedPreconditionError: KEY_CHANGED if somebody else rotated it at the same time.
        """
        request = key_service_pb2.RotateKeyRequest(name=str(parse_key(key)))
        return key_from_proto(self._calls.unary(self._stub.RotateKey, "RotateKey", request, Trail()))

    def disable(self, version: str) -> KeyVersion:
        """Refuse every use of a version, "staff/2", until it is enabled again. Needs the operator's identity."""
        request = key_service_pb2.DisableKeyVersionRequest(name=str(parse_version(version)))
        return _version(self._calls.unary(self._stub.DisableKeyVersion, "DisableKeyVersion", request, Trail()))

    def enable(self, version: str) -> KeyVersion:
        """Allow the use of a disabled version again. Needs the operator's identity."""
        request = key_service_pb2.EnableKeyVersionRequest(name=str(parse_version(version)))
        return _version(self._calls.unary(self._stub.EnableKeyVersion, "EnableKeyVersion", request, Trail()))

    def destroy(self, version: str, delay: timedelta | None = None) -> KeyVersion:
        """Destroy the secret key of a version. Needs the operator's identity.

        Args:
            version: "staff/2" or its name.
            delay: Until then it can be restored, at most 365 days. Zero: at once and for good; None: one day.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            FailedPreconditionError: If it is the primary version and enabled.
        """
        request = key_service_pb2.DestroyKeyVersionRequest(name=str(parse_version(version)))
        if delay is not None and delay:
            request.delay.FromTimedelta(delay)
        elif delay is not None:
            request.immediately = True
        return _version(self._calls.unary(self._stub.DestroyKeyVersion, "DestroyKeyVersion", request, Trail()))

    def restore(self, version: str) -> KeyVersion:
        """Cancel a scheduled destruction; the version is disabled then. Needs the operator's identity."""
        request = key_service_pb2.RestoreKeyVersionRequest(name=str(parse_version(version)))
        return _version(self._calls.unary(self._stub.RestoreKeyVersion, "RestoreKeyVersion", request, Trail()))

    def set_minimum_version(self, key: str, minimum_version: int) -> Key:
        """Refuse every use of older versions from now on. Needs the operator's identity.

        Args:
            key: Its id or name.
            minimum_version: 1 to the primary version.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            InvalidArgumentError: INVALID_FIELD for another number.
        """
        request = key_service_pb2.UpdateKeyRequest(
            key=key_service_pb2.Key(name=str(parse_key(key)), minimum_version=minimum_version),
            update_mask=FieldMask(paths=["minimum_version"]),
        )
        return key_from_proto(self._calls.unary(self._stub.UpdateKey, "UpdateKey", request, Trail()))

    def policy(self, key: str) -> policy_pb2.KeyPolicy:
        """What a key may be used for. Raises NotFoundError KEY_NOT_FOUND."""
        request = key_service_pb2.GetKeyRequest(name=str(parse_key(key)))
        return self._calls.unary(self._stub.GetKey, "GetKey", request, Trail()).policy

    def set_policy(self, key: str, policy: policy_pb2.KeyPolicy) -> policy_pb2.KeyPolicy:
        """Replace a key's policy and answer the new one. Needs the operator's identity.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            InvalidArgumentError: INVALID_FIELD for a policy that makes no sense.
        """
        request = key_service_pb2.UpdateKeyRequest(
            key=key_service_pb2.Key(name=str(parse_key(key)), policy=policy), update_mask=FieldMask(paths=["policy"])
        )
        return self._calls.unary(self._stub.UpdateKey, "UpdateKey", request, Trail()).policy

    def audit_head(self) -> key_service_pb2.AuditHead:
        """The newest record of the key service's audit log. Needs the operator's identity."""
        return self._calls.unary(
            self._stub.GetAuditHead, "GetAuditHead", key_service_pb2.GetAuditHeadRequest(), Trail()
        )

    def audit_records(self) -> Iterator[key_service_pb2.AuditRecord]:
        """The audit log of the key service, oldest first. Needs the operator's identity."""

        def fetch(token: str) -> tuple[Iterable[key_service_pb2.AuditRecord], str]:
            request = key_service_pb2.ListAuditRecordsRequest(page_size=_PAGE_SIZE, page_token=token)
            page = self._calls.unary(self._stub.ListAuditRecords, "ListAuditRecords", request, Trail())
            return page.records, page.next_page_token

        return pages(fetch)

    def list(self) -> list[Key]:
        """All keys in order of their names."""

        def fetch(token: str) -> tuple[list[Key], str]:
            request = key_service_pb2.ListKeysRequest(page_size=_PAGE_SIZE, page_token=token)
            page = self._calls.unary(self._stub.ListKeys, "ListKeys", request, Trail())
            return [key_from_proto(key) for key in page.keys], page.next_page_token

        return [*pages(fetch)]


def key_from_proto(message: key_service_pb2.Key) -> Key:
    """Convert a Key."""
    return Key(
        name=message.name,
        scheme=scheme_from_proto(message.scheme),
        profile=message.profile,
        primary_version=message.primary_version,
        minimum_version=message.minimum_version,
        embedding_transform=message.embedding_transform,
        versions=tuple(_version(version) for version in message.versions),
        create_time=message.create_time.ToDatetime(tzinfo=UTC),
    )


def _version(message: key_service_pb2.KeyVersion) -> KeyVersion:
    states = key_service_pb2.KeyVersion.State
    state = states.Name(states.ValueType(message.state)) if message.state in states.values() else "STATE_UNSPECIFIED"
    return KeyVersion(
        name=message.name,
        version=message.version,
        state=state.removeprefix("STATE_").lower().replace("_", " "),
        create_time=message.create_time.ToDatetime(tzinfo=UTC),
        public_key_sha256=message.public_key_sha256.hex(),
        public_key_bytes=message.public_key_bytes,
        evaluation_keys_bytes=message.evaluation_keys_bytes,
        destroy_time=message.destroy_time.ToDatetime(tzinfo=UTC) if message.HasField("destroy_time") else None,
    )
