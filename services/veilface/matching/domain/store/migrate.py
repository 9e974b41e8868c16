"""Brings the tables of a record store to the version of this code."""

from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from veilface.common.errors import ConfigurationError, Reason
from veilface.matching.domain.store.database import Database

_ADVISORY_LOCK: Final = 0x7665696C


def migrate(database: Database) -> None:
    """Run the missing migrations in one transaction; replicas that start together wait for one another.

    Raises:
        ConfigurationError: INVALID_SETTING if the tables were made by a newer version.
        UnavailableError: If the database does not answer.
    """
    config = Config()
    config.set_main_option("script_location", "veilface.matching.domain.store:migrations")
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        _check_known(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _check_known(connection: Connection, scripts: ScriptDirectory) -> None:
    known = {revision.revision for revision in scripts.walk_revisions()}
    for revision in MigrationContext.configure(connection).get_current_heads():
        if revision not in known:
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"the record store has schema version {revision}, which this version of veilface does not know: "
                "it was written by a newer one",
            )
