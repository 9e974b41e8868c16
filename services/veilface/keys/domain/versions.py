"""What the vault tells about a key and its versions, and which states a version can be in."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from veilface.common.errors import FailedPreconditionError, Reason
from veilface.common.names import KeyName, KeyVersionName
from veilface.crypto.contract import Scheme
from veilface.keys.domain.policy import KeyPolicy


class VersionState(StrEnum):
    """What a version can be used for. The life cycle is that of Google Cloud KMS."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DESTROY_SCHEDULED = "destroy-scheduled"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """A version of a key, without key material.

    Attributes:
        destroy_time: When the secret key will be or was destroyed; None before that is scheduled.
        public_key_sha256: The digest of the public key, 32 bytes.
        evaluation_keys_sha256: The digest of the evaluation keys, 32 bytes.
        public_key_bytes: The size of the public key.
        evaluation_keys_bytes: The size of the evaluation keys.
    """

    name: KeyVersionName
    state: VersionState
    create_time: datetime
    destroy_time: datetime | None
    public_key_sha256: bytes
    evaluation_keys_sha256: bytes
    public_key_bytes: int
    evaluation_keys_bytes: int

    @property
    def number(self) -> int:
        """The number of the version, from 1."""
        return self.name.version


@dataclass(frozen=True, slots=True)
class Key:
    """A named keyset, without key material.

    Attributes:
        primary_version: The version that new templates are encrypted under.
        minimum_version: Older versions are refused, whatever their state.
        transformed: Whether embeddings pass a secret orthogonal transform before they are encrypted.
        versions: Oldest first.
    """

    name: KeyName
    scheme: Scheme
    profile: str
    primary_version: int
    minimum_version: int
    policy: KeyPolicy
    transformed: bool
    create_time: datetime
    versions: tuple[KeyVersion, ...]

    @property
    def etag(self) -> str:
        """Names what `KeyStore.update` may change: equal as long as nobody changed that."""
        return etag_of(self.minimum_version, self.policy)

    def version(self, number: int) -> KeyVersion | None:
        """The version with this number, if there is one."""
        return next((version for version in self.versions if version.number == number), None)


def etag_of(minimum_version: int, policy: KeyPolicy) -> str:
    """See `Key.etag`."""
    return hashlib.sha256(f"{minimum_version} {policy.model_dump_json()}".encode()).hexdigest()[:32]


def require_usable(key: Key, version: KeyVersion, now: datetime) -> None:
    """Check that a version may be used at all.

    Raises:
        FailedPreconditionError: KEY_DESTROYED, KEY_DISABLED or KEY_VERSION_TOO_OLD.
    """
    # A destruction that is due has happened, even if the sweep that wipes the row runs later.
    overdue = version.destroy_time is not None and version.destroy_time <= now
    if version.state is VersionState.DESTROYED or (version.state is VersionState.DESTROY_SCHEDULED and overdue):
        raise FailedPreconditionError(Reason.KEY_DESTROYED, f"{version.name} was destroyed")
    if version.state is VersionState.DESTROY_SCHEDULED:
        raise FailedPreconditionError(
            Reason.KEY_DISABLED, f"{version.name} is scheduled for destruction; restore it before then to use it again"
        )
    if version.state is VersionState.DISABLED:
        raise FailedPreconditionError(Reason.KEY_DISABLED, f"{version.name} is disabled")
    if version.number < key.minimum_version:
        raise FailedPreconditionError(
            Reason.KEY_VERSION_TOO_OLD,
            f"{version.name} is older than the minimum version {key.minimum_version} of its key",
        )
