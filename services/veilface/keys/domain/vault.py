"""The vault: makes keys, keeps their secrets sealed, and opens them only for the rules next door."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from veilface.common.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from veilface.common.names import KeyName, KeyVersionName
from veilface.crypto.contract import Scheme
from veilface.keys.domain.key_making import KeyGenerator, NewVersion, make_version
from veilface.keys.domain.key_store import KeyStore, SealedVersion, StoredVersion
from veilface.keys.domain.policy import KeyPolicy, Operation
from veilface.keys.domain.resealing import require_any_sealed_under, require_sealed_under
from veilface.keys.domain.sealing import KeyWrapper, Purpose, check_context, open_seal
from veilface.keys.domain.secret_bytes import SecretKey, TransformSeed
from veilface.keys.domain.versions import Key, KeyVersion, VersionState, require_usable

LARGEST_PAGE = 1000
DEFAULT_PAGE = 100
DEFAULT_DESTROY_DELAY = timedelta(days=1)
LONGEST_DESTROY_DELAY = timedelta(days=365)

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """The public key or the evaluation keys of one version.

    Attributes:
        importers: Who alone may sign imported segments; None if the key's policy has no grant for that.
    """

    key_version: KeyVersionName
    scheme: Scheme
    profile: str
    content: bytes
    sha256: bytes
    plaintext_probe_allowed: bool
    embedding_transform: bool
    importers: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class UsableVersion:
    """A version that was found usable a moment ago, and its key."""

    key: Key
    version: KeyVersion


class Vault:
    """Keys and their life cycle.

    A vault starts sealed: without its master key it refuses everything. All methods block on the database and belong on
    a worker pool.

    Args:
        store: Where keys are kept.
        generate: Makes the key of a scheme and profile.
        clock: The current time, with a zone.
    """

    def __init__(self, store: KeyStore, generate: KeyGenerator, clock: Clock) -> None:
        self._store = store
        self._generate = generate
        self._clock = clock
        self._wrapper: KeyWrapper | None = None

    @property
    def is_sealed(self) -> bool:
        """Whether the master key is missing."""
        return self._wrapper is None

    def unseal(self, wrapper: KeyWrapper) -> Sequence[KeyVersionName]:
        """Give the vault its master key; answers the versions that it does not open.

        Those were damaged, and are refused when they are used; all others work.

        Raises:
            DataLossError: SEAL_BROKEN if there are keys and this master key opens none of them. The vault stays sealed.
        """
        stored = self._store.all_sealed()
        problems: dict[KeyVersionName, DataLossError] = {}
        for sealed in stored:
            try:
                require_sealed_under(sealed, wrapper)
                check_context(sealed.secret_key, sealed.context, wrapper)
            except DataLossError as error:
                problems[sealed.context.key_version] = error
        if stored and len(problems) == len(stored):
            raise next(iter(problems.values()))
        self._wrapper = wrapper
        return tuple(problems)

    def seal_if_resealed(self) -> None:
        """Give up the master key if the vault was moved to another one.

        Raises:
            DataLossError: SEAL_BROKEN if that has happened. The vault is sealed then.
        """
        wrapper = self._require_unsealed()
        try:
            require_any_sealed_under(self._store.all_sealed(), wrapper)
        except DataLossError:
            self._wrapper = None
            raise

    def create_key(self, name: KeyName, scheme: Scheme, profile: str, policy: KeyPolicy, *, transformed: bool) -> Key:
        """Make a key with version 1.

        Args:
            transformed: Whether embeddings pass a secret orthogonal transform before they are encrypted.

        Raises:
            AlreadyExistsError: KEY_EXISTS.
            FailedPreconditionError: KEY_CHANGED if the vault was moved to another master key at the same time.
        """
        self._require_unsealed()
        if self._store.find(name) is not None:
            # Making a key takes long and the store checks again: this only answers sooner.
            raise AlreadyExistsError(Reason.KEY_EXISTS, f"there is a {name} already")
        now = self._clock()
        first = self._new_version(name.version(1), scheme, profile, transformed, now)
        key = Key(name, scheme, profile, 1, 1, policy, transformed, now, (first.version,))
        self._store.insert_key(key, first)
        return key

    def rotate(self, name: KeyName) -> Key:
        """Make a new primary version. Older versions stay as they are.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            FailedPreconditionError: KEY_CHANGED if somebody else rotated it, or moved the vault to another master key,
                at the same time.
        """
        key = self.get_key(name)
        number = max(version.number for version in key.versions) + 1
        stored = self._new_version(name.version(number), key.scheme, key.profile, key.transformed, self._clock())
        self._store.insert_primary(name, key.primary_version, stored)
        return self.get_key(name)

    def get_key(self, name: KeyName) -> Key:
        """A key. Raises NotFoundError (KEY_NOT_FOUND)."""
        self._require_unsealed()
        key = self._store.find(name)
        if key is None:
            raise NotFoundError(Reason.KEY_NOT_FOUND, f"there is no {name}")
        return key

    def list_keys(self, page_size: int, after: str) -> tuple[Sequence[Key], str]:
        """A page of keys after the key id `after`, and the id to continue after; that is empty on the last page.

        Raises:
            InvalidArgumentError: INVALID_FIELD if `page_size` is not in 0..1000.
        """
        self._require_unsealed()
        if not 0 <= page_size <= LARGEST_PAGE:
            raise InvalidArgumentError(Reason.INVALID_FIELD, f"page_size is 0 to {LARGEST_PAGE}, not {page_size}")
        limit = page_size or DEFAULT_PAGE
        keys = self._store.page(after, limit + 1)
        return keys[:limit], keys[limit - 1].name.key if len(keys) > limit else ""

    def update(
        self, name: KeyName, minimum_version: int | None, policy: KeyPolicy | None, etag: str | None = None
    ) -> Key:
        """Change the minimum version, the policy, or both.

        Args:
            etag: What the key is to have still; None overwrites whatever it has.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            FailedPreconditionError: KEY_CHANGED if the key has another etag.
            InvalidArgumentError: INVALID_FIELD if the minimum version is above the primary version.
        """
        key = self.get_key(name)
        if minimum_version is not None and not 1 <= minimum_version <= key.primary_version:
            raise InvalidArgumentError(
                Reason.INVALID_FIELD,
                f"the minimum version is 1 to the primary version {key.primary_version}, not {minimum_version}",
            )
        self._store.update(name, minimum_version, policy, etag)
        return self.get_key(name)

    def disable(self, name: KeyVersionName) -> Key:
        """Refuse every use of a version from now on. Disabling a disabled version changes nothing."""
        return self._change_state(name, (VersionState.ENABLED,), VersionState.DISABLED)

    def enable(self, name: KeyVersionName) -> Key:
        """Allow a disabled version again. Enabling an enabled version changes nothing."""
        return self._change_state(name, (VersionState.DISABLED,), VersionState.ENABLED)

    def schedule_destruction(self, name: KeyVersionName, delay: timedelta | None) -> Key:
        """Refuse every use of a version from now on, and destroy it after a delay.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            InvalidArgumentError: INVALID_FIELD for a delay that is not positive or above 365 days.
            FailedPreconditionError: KEY_CHANGED if it is the primary version and not disabled, or already scheduled.
        """
        if delay is None:
            delay = DEFAULT_DESTROY_DELAY
        if not timedelta(0) < delay <= LONGEST_DESTROY_DELAY:
            raise InvalidArgumentError(
                Reason.INVALID_FIELD, f"the delay is positive and at most {LONGEST_DESTROY_DELAY.days} days"
            )
        self._require_dispensable(name)
        return self._change_state(
            name,
            (VersionState.ENABLED, VersionState.DISABLED),
            VersionState.DESTROY_SCHEDULED,
            self._clock() + delay,
        )

    def destroy_now(self, name: KeyVersionName) -> Key:
        """Destroy a version at once and for good. Destroying a destroyed version changes nothing.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            FailedPreconditionError: KEY_CHANGED if it is the primary version and not disabled.
        """
        _, version = self._require_dispensable(name)
        if version.state is not VersionState.DESTROYED and not self._store.destroy(name, version.state, self._clock()):
            raise _changed(name)
        return self.get_key(name.key_name)

    def restore(self, name: KeyVersionName) -> Key:
        """Cancel a scheduled destruction. The version is disabled then.

        Raises:
            FailedPreconditionError: KEY_DESTROYED if it is too late; KEY_CHANGED if none is scheduled.
        """
        _, version = self._find_version(name)
        if version.destroy_time is not None and version.destroy_time <= self._clock():
            raise FailedPreconditionError(Reason.KEY_DESTROYED, f"{name} was destroyed")
        return self._change_state(name, (VersionState.DESTROY_SCHEDULED,), VersionState.DISABLED)

    def due_for_destruction(self) -> Sequence[KeyVersionName]:
        """The versions whose scheduled destruction is due."""
        return self._store.due_for_destruction(self._clock())

    def destroy_due(self, name: KeyVersionName) -> bool:
        """Destroy a version whose time has come. False if another replica was faster or somebody restored it."""
        return self._store.destroy_due(name, self._clock())

    def resolve(self, name: KeyName | KeyVersionName) -> UsableVersion:
        """The named version, or the primary one of the named key, if it may be used.

        Raises:
            NotFoundError: KEY_NOT_FOUND.
            FailedPreconditionError: KEY_DISABLED, KEY_DESTROYED or KEY_VERSION_TOO_OLD.
        """
        if isinstance(name, KeyName):
            key = self.get_key(name)
            name = name.version(key.primary_version)
        key, version = self._find_version(name)
        require_usable(key, version, self._clock())
        return UsableVersion(key, version)

    def public_key(self, usable: UsableVersion) -> KeyMaterial:
        """The public key, checked against what was sealed with the secret key.

        Raises:
            DataLossError: SEAL_BROKEN or DATA_LOSS if the stored row was tampered with.
        """
        content = self._store.public_key(usable.version.name)
        return self._checked_material(usable, content, usable.version.public_key_sha256)

    def evaluation_keys(self, usable: UsableVersion) -> KeyMaterial:
        """The evaluation keys, checked against what was sealed with the secret key. Raises as `public_key`."""
        content = self._store.evaluation_keys(usable.version.name)
        return self._checked_material(usable, content, usable.version.evaluation_keys_sha256)

    def open_secret_key(self, usable: UsableVersion) -> SecretKey:
        """Unseal the secret key of a version. The caller wipes it.

        Raises:
            DataLossError: SEAL_BROKEN.
        """
        sealed = self._sealed(usable)
        return open_seal(SecretKey, sealed.secret_key, sealed.context, self._require_unsealed())

    def open_transform_seed(self, usable: UsableVersion) -> TransformSeed:
        """Unseal the seed of a version's orthogonal transform. The caller wipes it.

        Raises:
            FailedPreconditionError: UNSUPPORTED_BY_KEY if embeddings of this key are not transformed.
            DataLossError: SEAL_BROKEN.
        """
        if not usable.key.transformed:
            raise FailedPreconditionError(
                Reason.UNSUPPORTED_BY_KEY, f"{usable.key.name} was created without a secret transform of embeddings"
            )
        sealed = self._sealed(usable)
        context = replace(sealed.context, purpose=Purpose.TRANSFORM_SEED)
        return open_seal(TransformSeed, sealed.transform_seed, context, self._require_unsealed())

    def _new_version(
        self, name: KeyVersionName, scheme: Scheme, profile: str, transformed: bool, now: datetime
    ) -> StoredVersion:
        # The store checks again, in the transaction that stores the version; this spares making it in vain.
        self.seal_if_resealed()
        wrapper = self._require_unsealed()
        return make_version(NewVersion(name, scheme, profile, transformed, now), self._generate, wrapper)

    def _checked_material(self, usable: UsableVersion, content: bytes | None, sha256: bytes) -> KeyMaterial:
        name = usable.version.name
        sealed = self._sealed(usable)
        check_context(sealed.secret_key, sealed.context, self._require_unsealed())
        if content is None or hashlib.sha256(content).digest() != sha256:
            raise DataLossError(
                Reason.DATA_LOSS, f"the stored key material of {name} is not what was created; restore it from a backup"
            )
        key = usable.key
        return KeyMaterial(
            key_version=name,
            scheme=key.scheme,
            profile=key.profile,
            content=content,
            sha256=sha256,
            plaintext_probe_allowed=key.policy.plaintext_probe,
            embedding_transform=key.transformed,
            importers=key.policy.granted(Operation.IMPORT),
        )

    def _sealed(self, usable: UsableVersion) -> SealedVersion:
        sealed = self._store.sealed(usable.version.name)
        if sealed is None:
            raise FailedPreconditionError(Reason.KEY_DESTROYED, f"{usable.version.name} was destroyed")
        return sealed

    def _find_version(self, name: KeyVersionName) -> tuple[Key, KeyVersion]:
        key = self.get_key(name.key_name)
        version = key.version(name.version)
        if version is None:
            raise NotFoundError(Reason.KEY_NOT_FOUND, f"there is no {name}")
        return key, version

    def _require_dispensable(self, name: KeyVersionName) -> tuple[Key, KeyVersion]:
        key, version = self._find_version(name)
        if name.version == key.primary_version and version.state is VersionState.ENABLED:
            raise FailedPreconditionError(
                Reason.KEY_CHANGED,
                f"{name} is the primary version and in use: rotate the key first, or disable the version",
            )
        return key, version

    def _change_state(
        self,
        name: KeyVersionName,
        expected: Sequence[VersionState],
        state: VersionState,
        destroy_time: datetime | None = None,
    ) -> Key:
        key, version = self._find_version(name)
        if version.state is state and destroy_time is None:
            return key
        if version.state is VersionState.DESTROYED:
            raise FailedPreconditionError(Reason.KEY_DESTROYED, f"{name} was destroyed")
        if version.state not in expected:
            raise FailedPreconditionError(
                Reason.KEY_CHANGED,
                f"{name} is {version.state.value}; this needs it to be {' or '.join(each.value for each in expected)}",
            )
        if not self._store.change_state(name, version.state, state, destroy_time):
            raise _changed(name)
        return self.get_key(name.key_name)

    def _require_unsealed(self) -> KeyWrapper:
        if self._wrapper is None:
            raise UnavailableError(Reason.MASTER_KEY_MISSING, "the vault is sealed: the key service has no master key")
        return self._wrapper


def _changed(name: KeyVersionName) -> FailedPreconditionError:
    return FailedPreconditionError(Reason.KEY_CHANGED, f"{name} was changed by somebody else meanwhile; look and retry")
