import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from veilface.common.database import Database
from veilface.common.errors import ConfigurationError
from veilface.matching.domain.store.identity import read_identity
from veilface.matching.domain.store.migrate import migrate
from veilface.matching.domain.store.schema import Base, StoreIdentityRow

ON_BOTH_DATABASES = True


def test_the_migrations_make_exactly_the_tables_of_the_code(database):
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_replicas_that_start_together_migrate_once(store_url):
    databases = [Database(store_url) for _ in range(4)]
    identities, begin = [], threading.Barrier(len(databases))

    def start(database):
        begin.wait()
        migrate(database)
        identities.append(read_identity(database))

    threads = [threading.Thread(target=start, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for database in databases:
        database.close()
    assert len(identities) == len(databases)
    assert len(set(identities)) == 1


def test_tables_of_a_newer_version_are_refused(database):
    migrate(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="9999"):
        migrate(database)


def test_the_identity_is_that_of_the_store_and_hides_its_secret(database, tmp_path):
    other = Database(f"sqlite:///{tmp_path}/other.db")
    migrate(other)
    ours, theirs = read_identity(database), read_identity(other)
    other.close()
    assert ours == read_identity(database)
    assert ours.store_id != theirs.store_id
    assert ours.derive("a") != ours.derive("b")
    assert ours.derive("a") != theirs.derive("a")
    assert ours.secret.hex() not in repr(ours)
    assert str(ours.secret) not in repr(ours)


def test_a_write_that_fails_leaves_nothing(database):
    def change_and_fail():
        with database.write() as connection:
            connection.execute(update(StoreIdentityRow).values(store_id="changed"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert read_identity(database).store_id != "changed"
    with database.write() as connection:
        connection.execute(update(StoreIdentityRow).values(store_id="changed"))
    assert read_identity(database).store_id == "changed"


def test_a_read_sees_one_snapshot_while_others_write(database):
    query = select(StoreIdentityRow.store_id)
    with database.read() as connection:
        before = connection.scalars(query).one()
        with database.write() as writer:
            writer.execute(update(StoreIdentityRow).values(store_id="changed"))
        assert connection.scalars(query).one() == before
    assert read_identity(database).store_id == "changed"


def test_a_failed_statement_does_not_repeat_its_values(database):
    statement = text("INSERT INTO store_identity VALUES (1, :name, :secret)")
    values = {"name": "canary-name", "secret": b"canary-bytes"}
    with database.write() as connection, pytest.raises(IntegrityError, match=r"(?i)unique") as caught:
        connection.execute(statement, values)
    assert "canary" not in str(caught.value)
