"""Keys in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from veilface.common.database import Database
from veilface.common.errors import AlreadyExistsError, FailedPreconditionError, Reason
from veilface.common.names import KeyName, KeyVersionName
from veilface.crypto.contract import Scheme
from veilface.keys.domain.key_store import SealedVersion, StoredVersion
from veilface.keys.domain.policy import KeyPolicy
from veilface.keys.domain.resealing import require_same_master_key
from veilface.keys.domain.sealing import LARGEST_HEADER_BYTES, Purpose, SealContext
from veilface.keys.domain.versions import Key, KeyVersion, VersionState, etag_of
from veilface.keys.storage.tables import key_material, key_versions, keys

_SEALED_LOCK = 0x7665_696C_7365_616C


class SqlKeyStore:
    """See `veilface.keys.domain.key_store.KeyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert_key(self, key: Key, first: StoredVersion) -> None:
        """See KeyStore."""
        try:
            with self._database.write() as connection:
                connection.execute(
                    insert(keys).values(
                        key=key.name.key,
                        scheme=key.scheme.value,
                        profile=key.profile,
                        primary_version=key.primary_version,
                        minimum_version=key.minimum_version,
                        policy=key.policy.model_dump_json(),
                        transformed=key.transformed,
                        create_time=key.create_time,
                    )
                )
                self._require_same_master_key(connection, first)
                _insert_version(connection, first)
        except IntegrityError as error:
            raise AlreadyExistsError(Reason.KEY_EXISTS, f"there is a {key.name} already") from error

    def insert_primary(self, key: KeyName, expected_primary: int, stored: StoredVersion) -> None:
        """See KeyStore."""
        number = stored.version.number
        try:
            with self._database.write() as connection:
                moved = connection.execute(
                    update(keys)
                    .where(keys.c.key == key.key, keys.c.primary_version == expected_primary)
                    .values(primary_version=number)
                )
                if moved.rowcount != 1:
                    raise _rotated_meanwhile(key)
                self._require_same_master_key(connection, stored)
                _insert_version(connection, stored)
        except IntegrityError as error:
            raise _rotated_meanwhile(key) from error

    def find(self, key: KeyName) -> Key | None:
        """See KeyStore."""
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(keys.c.key == key.key)).one_or_none()
            if row is None:
                return None
            return _to_keys(connection, [row])[0]

    def page(self, after: str, limit: int) -> Sequence[Key]:
        """See KeyStore."""
        with self._database.read() as connection:
            rows = connection.execute(select(keys).where(keys.c.key > after).order_by(keys.c.key).limit(limit)).all()
            return _to_keys(connection, rows)

    def update(self, key: KeyName, minimum_version: int | None, policy: KeyPolicy | None, etag: str | None) -> None:
        """See KeyStore."""
        values: dict[str, Any] = {}
        if minimum_version is not None:
            values["minimum_version"] = minimum_version
        if policy is not None:
            values["policy"] = policy.model_dump_json()
        if values:
            with self._database.write() as connection:
                if etag is not None:
                    _require_etag(connection, key, etag)
                connection.execute(update(keys).where(keys.c.key == key.key).values(**values))

    def change_state(
        self, version: KeyVersionName, expected: VersionState, state: VersionState, destroy_time: datetime | None
    ) -> bool:
        """See KeyStore."""
        with self._database.write() as connection:
            return _change_state(connection, version, expected, state, destroy_time)

    def destroy(self, version: KeyVersionName, expected: VersionState, now: datetime) -> bool:
        """See KeyStore."""
        return self._destroy(version, expected, now)

    def destroy_due(self, version: KeyVersionName, now: datetime) -> bool:
        """See KeyStore."""
        is_due = key_versions.c.destroy_time <= now
        return self._destroy(version, VersionState.DESTROY_SCHEDULED, now, is_due)

    def _destroy(
        self, version: KeyVersionName, expected: VersionState, now: datetime, *conditions: ColumnElement[bool]
    ) -> bool:
        with self._database.write() as connection:
            if not _change_state(connection, version, expected, VersionState.DESTROYED, now, *conditions):
                return False
            connection.execute(
                delete(key_material).where(key_material.c.key == version.key, key_material.c.version == version.version)
            )
        self._database.forget_erased_pages()
        return True

    def due_for_destruction(self, now: datetime) -> Sequence[KeyVersionName]:
        """See KeyStore."""
        statement = select(key_versions.c.key, key_versions.c.version).where(
            key_versions.c.state == VersionState.DESTROY_SCHEDULED.value, key_versions.c.destroy_time <= now
        )
        with self._database.read() as connection:
            return [KeyVersionName(row.key, row.version) for row in connection.execute(statement)]

    def sealed(self, version: KeyVersionName) -> SealedVersion | None:
        """See KeyStore."""
        with self._database.read() as connection:
            found = _sealed(connection, version)
            return found[0] if found else None

    def all_sealed(self) -> Sequence[SealedVersion]:
        """See KeyStore."""
        with self._database.read() as connection:
            return _sealed(connection, None)

    def replace_sealed(self, old: Sequence[SealedVersion], new: Sequence[SealedVersion]) -> None:
        """See KeyStore."""
        with self._database.write() as connection:
            self._database.lock(connection, _SEALED_LOCK)
            if list(old) != list(_sealed(connection, None)):
                raise FailedPreconditionError(
                    Reason.KEY_CHANGED, "the vault was changed meanwhile: stop all key services and try again"
                )
            for sealed in new:
                name = sealed.context.key_version
                connection.execute(
                    update(key_material)
                    .where(key_material.c.key == name.key, key_material.c.version == name.version)
                    .values(sealed_secret_key=sealed.secret_key, sealed_transform_seed=sealed.transform_seed)
                )
        self._database.forget_erased_pages()

    def public_key(self, version: KeyVersionName) -> bytes | None:
        """See KeyStore."""
        return self._material(version, "public_key")

    def evaluation_keys(self, version: KeyVersionName) -> bytes | None:
        """See KeyStore."""
        return self._material(version, "evaluation_keys")

    def _require_same_master_key(self, connection: Connection, new: StoredVersion) -> None:
        self._database.lock(connection, _SEALED_LOCK)
        beginnings = connection.scalars(select(func.substr(key_material.c.sealed_secret_key, 1, LARGEST_HEADER_BYTES)))
        require_same_master_key(new.sealed_secret_key, beginnings)

    def _material(self, version: KeyVersionName, column: str) -> bytes | None:
        statement = select(key_material.c[column]).where(
            key_material.c.key == version.key, key_material.c.version == version.version
        )
        with self._database.read() as connection:
            content: bytes | None = connection.execute(statement).scalar_one_or_none()
            return content


def _require_etag(connection: Connection, key: KeyName, etag: str) -> None:
    columns = select(keys.c.minimum_version, keys.c.policy).where(keys.c.key == key.key)
    row = connection.execute(columns.with_for_update()).one()
    if etag_of(row.minimum_version, KeyPolicy.model_validate_json(row.policy)) != etag:
        raise FailedPreconditionError(
            Reason.KEY_CHANGED, f"{key} was changed by somebody else since its etag was read: read it again"
        )


def _insert_version(connection: Connection, stored: StoredVersion) -> None:
    version = stored.version
    connection.execute(
        insert(key_versions).values(
            key=version.name.key,
            version=version.number,
            state=version.state.value,
            create_time=version.create_time,
            destroy_time=version.destroy_time,
            public_key_sha256=version.public_key_sha256,
            evaluation_keys_sha256=version.evaluation_keys_sha256,
            public_key_bytes=version.public_key_bytes,
            evaluation_keys_bytes=version.evaluation_keys_bytes,
        )
    )
    connection.execute(
        insert(key_material).values(
            key=version.name.key,
            version=version.number,
            sealed_secret_key=stored.sealed_secret_key,
            sealed_transform_seed=stored.sealed_transform_seed,
            public_key=stored.public_key,
            evaluation_keys=stored.evaluation_keys,
        )
    )


def _change_state(
    connection: Connection,
    version: KeyVersionName,
    expected: VersionState,
    state: VersionState,
    destroy_time: datetime | None,
    *conditions: ColumnElement[bool],
) -> bool:
    changed = connection.execute(
        update(key_versions)
        .where(
            key_versions.c.key == version.key,
            key_versions.c.version == version.version,
            key_versions.c.state == expected.value,
            *conditions,
        )
        .values(state=state.value, destroy_time=destroy_time)
    )
    return changed.rowcount == 1


def _to_keys(connection: Connection, rows: Sequence[Row[Any]]) -> list[Key]:
    versions: dict[str, list[KeyVersion]] = {row.key: [] for row in rows}
    statement = (
        select(key_versions)
        .where(key_versions.c.key.in_(list(versions)))
        .order_by(key_versions.c.key, key_versions.c.version)
    )
    for row in connection.execute(statement):
        versions[row.key].append(_to_version(row))
    return [
        Key(
            name=KeyName(row.key),
            scheme=Scheme(row.scheme),
            profile=row.profile,
            primary_version=row.primary_version,
            minimum_version=row.minimum_version,
            policy=KeyPolicy.model_validate_json(row.policy),
            transformed=row.transformed,
            create_time=row.create_time,
            versions=tuple(versions[row.key]),
        )
        for row in rows
    ]


def _to_version(row: Row[Any]) -> KeyVersion:
    return KeyVersion(
        name=KeyVersionName(row.key, row.version),
        state=VersionState(row.state),
        create_time=row.create_time,
        destroy_time=row.destroy_time,
        public_key_sha256=row.public_key_sha256,
        evaluation_keys_sha256=row.evaluation_keys_sha256,
        public_key_bytes=row.public_key_bytes,
        evaluation_keys_bytes=row.evaluation_keys_bytes,
    )


def _sealed(connection: Connection, version: KeyVersionName | None) -> list[SealedVersion]:
    statement = (
        select(
            key_versions.c.key,
            key_versions.c.version,
            keys.c.scheme,
            keys.c.profile,
            key_versions.c.public_key_sha256,
            key_versions.c.evaluation_keys_sha256,
            key_material.c.sealed_secret_key,
            key_material.c.sealed_transform_seed,
        )
        .join(keys, keys.c.key == key_versions.c.key)
        .join(
            key_material,
            (key_material.c.key == key_versions.c.key) & (key_material.c.version == key_versions.c.version),
        )
        .order_by(key_versions.c.key, key_versions.c.version)
    )
    if version is not None:
        statement = statement.where(key_versions.c.key == version.key, key_versions.c.version == version.version)
    return [
        SealedVersion(
            SealContext(
                Purpose.SECRET_KEY,
                KeyVersionName(row.key, row.version),
                Scheme(row.scheme),
                row.profile,
                row.public_key_sha256,
                row.evaluation_keys_sha256,
            ),
            row.sealed_secret_key,
            row.sealed_transform_seed,
        )
        for row in connection.execute(statement)
    ]


def _rotated_meanwhile(key: KeyName) -> FailedPreconditionError:
    return FailedPreconditionError(Reason.KEY_CHANGED, f"{key} was rotated by somebody else meanwhile")
