import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from veilface.common.database import Database
from veilface.common.errors import ConfigurationError, UnavailableError
from veilface.keys.storage.migrate import migrate
from veilface.keys.storage.tables import metadata

ON_BOTH_DATABASES = True


def test_the_migrations_build_exactly_the_declared_tables(database: Database) -> None:
    with database.write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    migrate(database)
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM audit_head")).scalar_one() == 1


def test_an_error_does_not_quote_the_values_of_its_statement(database: Database) -> None:
    with pytest.raises(UnavailableError) as caught, database.write() as connection:
        connection.execute(text("INSERT INTO absent VALUES (:value)"), {"value": "canary"})
    assert "canary" not in str(caught.value)
    assert "canary" not in str(caught.value.__cause__)


def test_tables_of_a_newer_version_are_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="9999"):
        migrate(database)
