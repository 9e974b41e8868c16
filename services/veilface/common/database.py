"""A service's database: transactions on SQLite or, by its URL, on PostgreSQL."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from veilface.common.errors import ConfigurationError, Reason, UnavailableError

_BEGIN: Final = "veilface_sqlite_begin"
_CHECKPOINT_TIMEOUT_MS: Final = 200
_MODE_RETRY_S: Final = 0.02


class Database:
    """A database's connections.

    A write is durable once its block is left, and on SQLite serialized with every other write. A read sees one state.

    Args:
        url: A SQLAlchemy URL: "sqlite:////absolute/path" or "postgresql+psycopg://...".
        busy_timeout_s: How long to wait for another writer or for a free connection.
        connections: How many connections to keep at most.

    Raises:
        ConfigurationError: INVALID_SETTING for a URL of anything else, of a driver that is not installed, or of no file
            in a folder that exists.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 10.0, connections: int = 8) -> None:
        try:
            parsed = make_url(url)
            self._sqlite_file = _sqlite_file(parsed)
            self._engine = create_engine(
                parsed,
                pool_size=connections,
                max_overflow=0,
                pool_timeout=busy_timeout_s,
                pool_pre_ping=True,
                # Statements carry sealed keys, ciphertexts and signatures; an error must not repeat them.
                hide_parameters=True,
            )
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING, "the database URL is not one that SQLAlchemy and the installed drivers know"
            ) from error
        self._reading: Engine = self._engine
        self._writing: Engine = self._engine
        if self._sqlite_file is not None:
            _configure_sqlite(self._engine, busy_timeout_s)
            self._reading = self._engine.execution_options(**{_BEGIN: "BEGIN DEFERRED"})
            self._writing = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        else:
            # PostgreSQL's own default shows every statement of a transaction another state.
            self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ")

    @property
    def sqlite_file(self) -> Path | None:
        """The file of a SQLite database; None for a database server."""
        return self._sqlite_file

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one snapshot.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE if the database does not answer.
        """
        with _translated_errors(), self._reading.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable once the block is left without an error, and leaves nothing otherwise.

        On SQLite it takes the write lock at its start, so that it never has to be retried.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE if the database does not answer or stays locked. IntegrityError
                passes through.
        """
        with _translated_errors(), self._writing.connect() as connection, connection.begin():
            yield connection

    def lock(self, connection: Connection, number: int) -> None:
        """Let no other transaction pass its own call with this number until this one ends.

        On SQLite that is so already, for every write.
        """
        if self._sqlite_file is None:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    def ping(self) -> None:
        """Ask the database for anything. Raises UnavailableError."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def forget_erased_pages(self) -> None:
        """Have erased rows overwritten in SQLite's write-ahead log as well, if no reader is in the way at the moment.

        Otherwise the next call, or SQLite itself in its time, does that. So does PostgreSQL's vacuum.
        """
        if self._sqlite_file is None:
            return
        with _translated_errors(), self._engine.connect() as connection:
            cursor = connection.connection.cursor()
            try:
                before = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
                cursor.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_TIMEOUT_MS}")
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                cursor.execute(f"PRAGMA busy_timeout = {before}")
            finally:
                cursor.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _sqlite_file(url: URL) -> Path | None:
    backend = url.get_backend_name()
    if backend == "postgresql":
        return None
    if backend != "sqlite":
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"the database is sqlite or postgresql, not {backend}: change the database URL"
        )
    file = Path(url.database or "")
    if url.database in (None, "", ":memory:") or not file.parent.is_dir():
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"a SQLite database is a file in a folder that exists, which {file} is not"
        )
    return file


def _configure_sqlite(engine: Engine, busy_timeout_s: float) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver would begin transactions at its own times; the "begin" event below does it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(busy_timeout_s * 1000)}")
        _use_write_ahead_log(cursor, time.monotonic() + busy_timeout_s)
        # FULL: a commit survives a power failure, not only the end of the process.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        # Erased rows are overwritten, not left in free pages.
        cursor.execute("PRAGMA secure_delete = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN DEFERRED"))


def _use_write_ahead_log(cursor: DBAPICursor, deadline_s: float) -> None:
    # SQLite does not wait by itself when two connections change the mode of a new file at the same time.
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_MODE_RETRY_S)
        else:
            return


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeoutError) as error:
        # The driver's message may quote values of the statement.
        kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
        raise UnavailableError(
            Reason.DEPENDENCY_UNAVAILABLE, f"the database does not answer or is locked ({kind}); try again"
        ) from error
