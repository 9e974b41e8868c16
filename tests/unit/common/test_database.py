"""Transactions on SQLite and PostgreSQL. What each service keeps in them is tested there."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from veilface.common.database import Database
from veilface.common.errors import ConfigurationError, Reason, UnavailableError


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    def filled(url: str) -> Iterator[Database]:
        database = Database(url)
        with database.write() as connection:
            connection.execute(text("CREATE TABLE notes (note TEXT UNIQUE)"))
            connection.execute(text("INSERT INTO notes VALUES ('first')"))
        yield database
        database.close()

    if request.param == "sqlite":
        yield from filled(f"sqlite:///{tmp_path}/notes.db")
    else:
        with request.getfixturevalue("postgresql").database() as url:
            yield from filled(url)


def notes(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(text("SELECT note FROM notes ORDER BY note")))


def test_a_write_is_seen_once_its_block_is_left(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("INSERT INTO notes VALUES ('second')"))
        assert notes(database) == ["first"]
    assert notes(database) == ["first", "second"]


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    def write_and_fail() -> None:
        with database.write() as connection:
            connection.execute(text("INSERT INTO notes VALUES ('second')"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert notes(database) == ["first"]


def test_a_read_sees_one_snapshot_while_others_write(database: Database) -> None:
    with database.read() as connection:
        assert list(connection.scalars(text("SELECT note FROM notes"))) == ["first"]
        with database.write() as writer:
            writer.execute(text("UPDATE notes SET note = 'changed'"))
        assert list(connection.scalars(text("SELECT note FROM notes"))) == ["first"]
    assert notes(database) == ["changed"]


def test_a_statement_that_fails_is_unavailable_and_repeats_no_value(database: Database) -> None:
    with pytest.raises(UnavailableError) as caught, database.write() as connection:
        connection.execute(text("INSERT INTO absent VALUES (:value)"), {"value": "canary"})
    assert caught.value.reason is Reason.DEPENDENCY_UNAVAILABLE
    assert "canary" not in str(caught.value)
    assert "canary" not in str(caught.value.__cause__)


def test_connections_to_sqlite_are_durable_and_check_references(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/durable.db")
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
        }
    # 2 is FULL: a commit is on the disk when it returns.
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 10_000,
    }
    database.close()


def test_what_was_erased_is_in_no_file_of_sqlite(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/notes.db")

    def is_written() -> bool:
        return any(b"canary" in path.read_bytes() for path in tmp_path.glob("notes.db*"))

    with database.write() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT)"))
        connection.execute(text("INSERT INTO notes VALUES ('canary')"))
    assert is_written()
    with database.write() as connection:
        connection.execute(text("DELETE FROM notes"))
    database.forget_erased_pages()
    assert not is_written()
    database.close()


def test_a_database_that_stays_locked_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    database = Database(f"sqlite:///{path}", busy_timeout_s=0.05)
    database.ping()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError) as caught, database.write():
        pass
    assert caught.value.reason is Reason.DEPENDENCY_UNAVAILABLE
    other.execute("ROLLBACK")
    other.close()
    with database.write():
        pass
    database.close()


def test_more_users_than_connections_are_told_so(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/busy.db", busy_timeout_s=0.05, connections=1)
    with database.read(), pytest.raises(UnavailableError), database.read():
        pass
    database.ping()
    database.close()


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    database = Database(f"sqlite:///{tmp_path}/folder.db")
    with pytest.raises(UnavailableError):
        database.ping()
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://host/name",
        "oracle://host/name",
        "postgresql+nodriver://host/name",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////no/such/folder/x.db",
    ],
)
def test_a_url_of_no_usable_database_is_a_wrong_setting_and_not_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database(url)
    assert caught.value.reason is Reason.INVALID_SETTING
    assert not url or url not in caught.value.message
