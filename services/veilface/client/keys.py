"""Keys by name. Their secret halves stay in the key service; nothing here could hold one."""

from dataclasses import dataclass
from datetime import UTC, datetime

import grpc

from veilface.client.calls import ServiceCalls, Trail, pages
from veilface.client.names import parse_key
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
    """

    name: str
    version: int
    state: str
    create_time: datetime
    public_key_sha256: str
    public_key_bytes: int
    evaluation_keys_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A named keyset.

    Attributes:
        name: "keys/{key}".
        profile: The parameter profile, for example "ckks-packed-128".
        primary_version: The version that new templates are encrypted under.
        versions: Every version, oldest first.
    """

    name: str
    scheme: Scheme
    profile: str
    primary_version: int
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
    )
