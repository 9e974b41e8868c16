"""Keys, versions and key material."""

from collections.abc import Iterator
from datetime import timedelta

from veilface.common.chunks import split_into_chunks
from veilface.common.conversion import scheme_from_proto, scheme_to_proto, time_to_proto
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import KeyName
from veilface.crypto.contract import Scheme
from veilface.crypto.public.registry import check_profile, default_profile
from veilface.keys.conversion.policy import grant_to_proto, policy_from_proto, policy_to_proto
from veilface.keys.domain.administration import Destruction, KeyChange, NewKey
from veilface.keys.domain.policy import KeyPolicy, Operation
from veilface.keys.domain.vault import KeyMaterial
from veilface.keys.domain.versions import Key, KeyVersion, VersionState
from veilface.keys.v1 import key_service_pb2
from veilface.types.v1 import chunk_pb2

_UPDATABLE = ("minimum_version", "policy")

_STATES: dict[VersionState, key_service_pb2.KeyVersion.State.ValueType] = {
    VersionState.ENABLED: key_service_pb2.KeyVersion.STATE_ENABLED,
    VersionState.DISABLED: key_service_pb2.KeyVersion.STATE_DISABLED,
    VersionState.DESTROY_SCHEDULED: key_service_pb2.KeyVersion.STATE_DESTROY_SCHEDULED,
    VersionState.DESTROYED: key_service_pb2.KeyVersion.STATE_DESTROYED,
}


def new_key_from_proto(message: key_service_pb2.CreateKeyRequest) -> NewKey:
    """What a new key is to be.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_NAME, INVALID_FIELD or UNKNOWN_PROFILE.
        FailedPreconditionError: PACKAGE_MISSING.
    """
    if not message.key_id:
        raise InvalidArgumentError(Reason.MISSING_FIELD, "key_id is missing")
    scheme = scheme_from_proto(message.scheme, Scheme.CKKS_PACKED)
    profile = message.profile or default_profile(scheme)
    check_profile(scheme, profile)
    policy = policy_from_proto(message.policy) if message.HasField("policy") else KeyPolicy()
    return NewKey(KeyName(message.key_id), scheme, profile, policy, message.embedding_transform)


def change_from_proto(message: key_service_pb2.UpdateKeyRequest) -> KeyChange:
    """What is to change.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_NAME or INVALID_FIELD.
    """
    paths = set(message.update_mask.paths)
    if not paths:
        raise InvalidArgumentError(Reason.MISSING_FIELD, f"update_mask is empty; it names {' or '.join(_UPDATABLE)}")
    if not paths <= set(_UPDATABLE):
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"update_mask may name {' and '.join(_UPDATABLE)} only")
    if "policy" in paths and not message.key.HasField("policy"):
        raise InvalidArgumentError(Reason.MISSING_FIELD, "key.policy is missing, and update_mask names it")
    return KeyChange(
        name=KeyName.parse(message.key.name),
        minimum_version=message.key.minimum_version if "minimum_version" in paths else None,
        policy=policy_from_proto(message.key.policy) if "policy" in paths else None,
    )


def destruction_from_proto(message: key_service_pb2.DestroyKeyVersionRequest) -> Destruction:
    """When a version is to be destroyed.

    Raises:
        InvalidArgumentError: INVALID_FIELD for "immediately: false" or a delay that is no duration.
    """
    when = message.WhichOneof("when")
    if when == "immediately":
        if not message.immediately:
            raise InvalidArgumentError(Reason.INVALID_FIELD, "immediately is false: set it to true, or set a delay")
        return Destruction(None, immediately=True)
    if when is None:
        return Destruction(None, immediately=False)
    try:
        delay: timedelta = message.delay.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise InvalidArgumentError(Reason.INVALID_FIELD, "delay is not a duration") from error
    return Destruction(delay, immediately=False)


def key_to_proto(key: Key) -> key_service_pb2.Key:
    """Convert a Key."""
    return key_service_pb2.Key(
        name=str(key.name),
        scheme=scheme_to_proto(key.scheme),
        profile=key.profile,
        primary_version=key.primary_version,
        versions=[version_to_proto(version) for version in key.versions],
        create_time=time_to_proto(key.create_time),
        minimum_version=key.minimum_version,
        policy=policy_to_proto(key.policy),
        embedding_transform=key.transformed,
    )


def version_to_proto(version: KeyVersion) -> key_service_pb2.KeyVersion:
    """Convert a KeyVersion."""
    return key_service_pb2.KeyVersion(
        name=str(version.name),
        version=version.number,
        state=_STATES[version.state],
        create_time=time_to_proto(version.create_time),
        public_key_sha256=version.public_key_sha256,
        public_key_bytes=version.public_key_bytes,
        evaluation_keys_bytes=version.evaluation_keys_bytes,
        evaluation_keys_sha256=version.evaluation_keys_sha256,
        destroy_time=None if version.destroy_time is None else time_to_proto(version.destroy_time),
    )


def page_token_from_proto(page_token: str) -> str:
    """The key id to continue after; empty for the first page.

    Raises:
        InvalidArgumentError: INVALID_PAGE_TOKEN.
    """
    if not page_token:
        return ""
    try:
        return KeyName(page_token).key
    except InvalidArgumentError as error:
        raise InvalidArgumentError(Reason.INVALID_PAGE_TOKEN, "page_token is not one that ListKeys answered") from error


def material_to_chunks(
    material: KeyMaterial,
) -> Iterator[tuple[key_service_pb2.KeyMaterialInfo | None, chunk_pb2.Chunk]]:
    """Cut key material into chunks; the first comes with the info."""
    info: key_service_pb2.KeyMaterialInfo | None = key_service_pb2.KeyMaterialInfo(
        key_version=str(material.key_version),
        scheme=scheme_to_proto(material.scheme),
        profile=material.profile,
        plaintext_probe_allowed=material.plaintext_probe_allowed,
        embedding_transform=material.embedding_transform,
        import_grant=None if material.importers is None else grant_to_proto(Operation.IMPORT, material.importers),
    )
    for chunk in split_into_chunks(material.content):
        yield info, chunk
        info = None
