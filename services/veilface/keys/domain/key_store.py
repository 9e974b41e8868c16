"""What the vault asks of its database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from veilface.common.names import KeyName, KeyVersionName
from veilface.keys.domain.policy import KeyPolicy
from veilface.keys.domain.sealing import SealContext
from veilface.keys.domain.versions import Key, KeyVersion, VersionState


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version with everything that is stored of it. The secrets in it are sealed."""

    version: KeyVersion
    sealed_secret_key: bytes
    sealed_transform_seed: bytes
    public_key: bytes
    evaluation_keys: bytes


@dataclass(frozen=True, slots=True)
class SealedVersion:
    """The sealed secrets of a version and what they belong to."""

    context: SealContext
    secret_key: bytes
    transform_seed: bytes


class KeyStore(Protocol):
    """Durable keys. Every method is one transaction; replicas may share one store.

    All raise UnavailableError (DEPENDENCY_UNAVAILABLE) if the database cannot answer.
    """

    def insert_key(self, key: Key, first: StoredVersion) -> None:
        """Store a new key.

        Raises:
            AlreadyExistsError: KEY_EXISTS.
            FailedPreconditionError: KEY_CHANGED if what is stored is sealed under another master key.
        """
        ...

    def insert_primary(self, key: KeyName, expected_primary: int, stored: StoredVersion) -> None:
        """Add a version and make it the primary one.

        Raises:
            FailedPreconditionError: KEY_CHANGED if the primary version is not the expected one any more, or what is
                stored is sealed under another master key.
        """
        ...

    def find(self, key: KeyName) -> Key | None:
        """A key, or None."""
        ...

    def page(self, after: str, limit: int) -> Sequence[Key]:
        """Keys in order of their ids, from the first after this id."""
        ...

    def update(self, key: KeyName, minimum_version: int | None, policy: KeyPolicy | None, etag: str | None) -> None:
        """Change what is not None.

        Raises:
            FailedPreconditionError: KEY_CHANGED if an etag is given and the key has another one.
        """
        ...

    def change_state(
        self, version: KeyVersionName, expected: VersionState, state: VersionState, destroy_time: datetime | None
    ) -> bool:
        """Move a version from the expected state to another. False, and no change, if it is in a different one."""
        ...

    def destroy(self, version: KeyVersionName, expected: VersionState, now: datetime) -> bool:
        """Wipe the sealed secrets and all key material of a version for good. False if it is in a different state."""
        ...

    def destroy_due(self, version: KeyVersionName, now: datetime) -> bool:
        """As `destroy`, of a version that is scheduled for destruction. False too if its time has not come."""
        ...

    def due_for_destruction(self, now: datetime) -> Sequence[KeyVersionName]:
        """The versions whose scheduled destruction is due."""
        ...

    def sealed(self, version: KeyVersionName) -> SealedVersion | None:
        """The sealed secrets of a version; None once it is destroyed."""
        ...

    def all_sealed(self) -> Sequence[SealedVersion]:
        """The sealed secrets of every version that is not destroyed."""
        ...

    def replace_sealed(self, old: Sequence[SealedVersion], new: Sequence[SealedVersion]) -> None:
        """Exchange sealed secrets, all or none.

        Raises:
            FailedPreconditionError: KEY_CHANGED if what is stored is not exactly `old`.
        """
        ...

    def public_key(self, version: KeyVersionName) -> bytes | None:
        """The public key of a version; None once it is destroyed."""
        ...

    def evaluation_keys(self, version: KeyVersionName) -> bytes | None:
        """The evaluation keys of a version; None once it is destroyed."""
        ...
