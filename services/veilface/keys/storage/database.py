"""One SQLAlchemy engine, its transactions, and the schema brought up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from veilface.common.errors import ConfigurationError, Reason, UnavailableError

BUSY_TIMEOUT_S = 10
_MIGRATION_LOCK = 0x7665_696C_6B65_7973
_SEALED_LOCK = 0x7665_696C_7365_616C


class Database:
    """A database whose transactions are serialized where it matters and durable when they return.

    Args:
        url: An SQLAlchemy URL: "sqlite:////folder/keys.db" or "postgresql+psycopg://...".

    Raises:
        ConfigurationError: INVALID_SETTING for a URL that is neither.
    """

    def __init__(self, url: str) -> None:
        try:
            backend = make_url(url).get_backend_name()
        except ArgumentError as error:
            raise ConfigurationError(Reason.INVALID_SETTING, "the database URL cannot be parsed") from error
        if backend not in ("sqlite", "postgresql"):
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"the database is sqlite or postgresql, not {backend}: change the database URL"
            )
        self._is_sqlite = backend == "sqlite"
        try:
            self._engine = (
                _sqlite_engine(url) if self._is_sqlite else create_engine(url, pool_pre_ping=True, hide_parameters=True)
            )
        except (ArgumentError, ImportError) as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING, "the database URL names a driver that is not installed"
            ) from error
        # PostgreSQL's own default shows every statement of a transaction another state.
        one_state = {"veilface_read_only": True} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reading = self._engine.execution_options(**one_state)

    def migrate(self) -> None:
        """Bring the schema up to date. Replicas may call it at the same time.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE.
        """
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.transaction() as connection:
            if not self._is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and rolls back on an error.

        On SQLite it takes the write lock at its start, so that it never has to be retried.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE if the database fails. IntegrityError passes through.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error

    def lock_sealed(self, connection: Connection) -> None:
        """Let no other transaction add or exchange sealed secrets until this one ends. On SQLite that is so already."""
        if not self._is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SEALED_LOCK})

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading one consistent state.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE.
        """
        try:
            with self._reading.connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error

    def forget_deleted(self) -> None:
        """Leave no copy of deleted rows in SQLite's write-ahead log, unless a reader still needs it: then the next
        call, or SQLite itself in its time, does that. So does PostgreSQL's vacuum.
        """
        if not self._is_sqlite:
            return
        # Past SQLAlchemy, which would begin a transaction.
        connection = self._engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        finally:
            connection.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _unavailable(self, error: SQLAlchemyError) -> UnavailableError:
        # The driver's message may quote values of the statement.
        kind = type(error.orig).__name__ if isinstance(error, DBAPIError) else type(error).__name__
        return UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, f"the key database does not answer ({kind})")


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # SQLAlchemy begins transactions itself, see below.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("veilface_read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
