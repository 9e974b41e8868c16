"""Making, changing and describing keys for a caller: the key's policy and the audit log come first, the vault second.

Every method raises PermissionDeniedError (POLICY_DENIED) where the key's policy says no, UnavailableError
(DEPENDENCY_UNAVAILABLE) where the audit log cannot be written, and otherwise what the vault's method raises. They block
and belong on a worker pool.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from veilface.common.errors import FailedPreconditionError, PermissionDeniedError, Reason
from veilface.common.names import KeyName, KeyVersionName
from veilface.crypto.contract import Scheme
from veilface.keys.domain.audit import AuditEntry, AuditLog, audited
from veilface.keys.domain.decrypters import DecrypterCache
from veilface.keys.domain.policy import KeyPolicy, Operation
from veilface.keys.domain.thresholds import ThresholdTable
from veilface.keys.domain.vault import KeyMaterial, Vault
from veilface.keys.domain.versions import Key, KeyVersion


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a new key is to be."""

    name: KeyName
    scheme: Scheme
    profile: str
    policy: KeyPolicy
    transformed: bool


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What is to change about a key; None leaves it.

    Attributes:
        etag: What the key is to have still; None overwrites whatever it has.
    """

    name: KeyName
    minimum_version: int | None
    policy: KeyPolicy | None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Destruction:
    """When a version is to be destroyed: at once, or after a delay, of which None is the usual one."""

    delay: timedelta | None
    immediately: bool


class KeyAdministration:
    """What callers may do with keys apart from decisions."""

    def __init__(self, vault: Vault, decrypters: DecrypterCache, audit: AuditLog, thresholds: ThresholdTable) -> None:
        self._vault = vault
        self._decrypters = decrypters
        self._audit = audit
        self._thresholds = thresholds

    def create_key(self, caller: str, new: NewKey) -> Key:
        """Make a key with version 1."""
        with audited(self._audit, caller, "create-key", str(new.name)) as entry:
            self._require_sound(new.policy, caller)
            entry.allow()
            return self._vault.create_key(new.name, new.scheme, new.profile, new.policy, transformed=new.transformed)

    def _require_sound(self, policy: KeyPolicy, caller: str) -> None:
        _require_manageable(policy, caller)
        self._thresholds.require_few(policy.thresholds)

    def get_key(self, name: KeyName) -> Key:
        """Describe a key."""
        return self._vault.get_key(name)

    def list_keys(self, page_size: int, after: str) -> tuple[Sequence[Key], str]:
        """Describe a page of keys."""
        return self._vault.list_keys(page_size, after)

    def update_key(self, caller: str, change: KeyChange) -> Key:
        """Change the minimum version, the policy, or both."""
        with self._managed(caller, "update-key", change.name):
            if change.policy is not None:
                self._require_sound(change.policy, caller)
            return self._vault.update(change.name, change.minimum_version, change.policy, change.etag)

    def rotate_key(self, caller: str, name: KeyName) -> Key:
        """Make a new primary version."""
        with self._managed(caller, "rotate-key", name):
            return self._vault.rotate(name)

    def disable_version(self, caller: str, name: KeyVersionName) -> KeyVersion:
        """Refuse every use of a version from now on."""
        return self._change_version(caller, "disable-version", name, self._vault.disable)

    def enable_version(self, caller: str, name: KeyVersionName) -> KeyVersion:
        """Allow a disabled version again."""
        return self._change_version(caller, "enable-version", name, self._vault.enable)

    def restore_version(self, caller: str, name: KeyVersionName) -> KeyVersion:
        """Cancel a scheduled destruction."""
        return self._change_version(caller, "restore-version", name, self._vault.restore)

    def destroy_version(self, caller: str, name: KeyVersionName, destruction: Destruction) -> KeyVersion:
        """Destroy a version, or schedule that."""
        if destruction.immediately:
            return self._change_version(caller, "destroy-version", name, self._vault.destroy_now)
        return self._change_version(
            caller,
            "schedule-destruction",
            name,
            lambda version: self._vault.schedule_destruction(version, destruction.delay),
        )

    def public_key(self, caller: str, name: KeyName | KeyVersionName) -> KeyMaterial:
        """The public key of a version. Giving it is not audited, refusing it is."""
        with self._refusal_audited(caller, "get-public-key", str(name)):
            usable = self._vault.resolve(name)
            usable.key.policy.require_granted(Operation.ENCRYPT, caller)
            return self._vault.public_key(usable)

    def evaluation_keys(self, caller: str, name: KeyName | KeyVersionName) -> KeyMaterial:
        """The evaluation keys of a version. Giving them is not audited, refusing them is."""
        with self._refusal_audited(caller, "get-evaluation-keys", str(name)):
            usable = self._vault.resolve(name)
            usable.key.policy.require_granted(Operation.EVALUATE, caller)
            return self._vault.evaluation_keys(usable)

    def transform_seed(self, caller: str, name: KeyName | KeyVersionName) -> tuple[KeyVersionName, bytes]:
        """The seed of a version's secret transform, 32 bytes. It has to leave, so it is a copy that nobody wipes."""
        with audited(self._audit, caller, "get-transform-seed", str(name)) as entry:
            usable = self._vault.resolve(name)
            usable.key.policy.require_granted(Operation.TRANSFORM, caller)
            entry.resource = str(usable.version.name)
            with self._vault.open_transform_seed(usable) as seed, seed.exposed() as view:
                entry.allow()
                return usable.version.name, bytes(view)

    def _change_version(
        self, caller: str, operation: str, name: KeyVersionName, change: Callable[[KeyVersionName], Key]
    ) -> KeyVersion:
        with self._managed(caller, operation, name.key_name, str(name)):
            key = change(name)
            self._decrypters.drop(name)
            version = key.version(name.version)
            assert version is not None
            return version

    @contextmanager
    def _managed(self, caller: str, operation: str, name: KeyName, resource: str = "") -> Iterator[None]:
        with audited(self._audit, caller, operation, resource or str(name)) as entry:
            self._vault.get_key(name).policy.require_granted(Operation.MANAGE, caller)
            entry.allow()
            yield

    @contextmanager
    def _refusal_audited(self, caller: str, operation: str, resource: str) -> Iterator[None]:
        try:
            yield
        except PermissionDeniedError as error:
            AuditEntry(self._audit, caller, operation, resource).fail(error.reason)
            raise


def _require_manageable(policy: KeyPolicy, caller: str) -> None:
    try:
        policy.require_granted(Operation.MANAGE, caller)
    except PermissionDeniedError as error:
        raise FailedPreconditionError(
            Reason.POLICY_DENIED, "this policy would lock its author out: grant the caller the operation manage"
        ) from error
