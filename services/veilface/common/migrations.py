"""Brings a database's tables to the version of this code."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from veilface.common.database import Database
from veilface.common.errors import ConfigurationError, Reason


def run_migrations(database: Database, scripts: str, lock: int) -> None:
    """Run the missing migrations in one transaction; replicas that start together wait for one another.

    Args:
        database: The database.
        scripts: Where Alembic finds them, "package:folder". Their env.py takes the connection from the attributes.
        lock: The number of the lock that they wait for.

    Raises:
        ConfigurationError: INVALID_SETTING if the tables were made by a newer version.
        UnavailableError: If the database does not answer.
    """
    config = Config()
    config.set_main_option("script_location", scripts)
    with database.write() as connection:
        database.lock(connection, lock)
        _check_known(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _check_known(connection: Connection, scripts: ScriptDirectory) -> None:
    known = {revision.revision for revision in scripts.walk_revisions()}
    for revision in MigrationContext.configure(connection).get_current_heads():
        if revision not in known:
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"the database has schema version {revision}, which this version of veilface does not know: "
                "it was written by a newer one",
            )
