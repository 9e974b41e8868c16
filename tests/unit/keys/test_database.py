from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from veilface.common.errors import ConfigurationError, UnavailableError
from veilface.keys.storage.database import Database
from veilface.keys.storage.tables import metadata

ON_BOTH_DATABASES = True


def test_the_migrations_build_exactly_the_declared_tables(database: Database) -> None:
    with database.transaction() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.migrate()
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM audit_head")).scalar_one() == 1


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "", "postgresql+nodriver://host/name"])
def test_a_url_of_anything_else_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database(url)
    assert not url or url not in caught.value.message


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/absent/keys.db")
    with pytest.raises(UnavailableError):
        database.migrate()


def test_deleted_rows_are_overwritten(database: Database, sqlite_files: object) -> None:
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        # 2 is FULL: a commit is on the disk when it returns.
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2


def test_an_error_does_not_quote_the_values_of_its_statement(database: Database) -> None:
    with pytest.raises(UnavailableError) as caught, database.transaction() as connection:
        connection.execute(text("INSERT INTO absent VALUES (:value)"), {"value": "canary"})
    assert "canary" not in str(caught.value)
    assert "canary" not in str(caught.value.__cause__)
