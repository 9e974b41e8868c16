"""veilface keys audit verify, against a real log that a service behind gRPC lists."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from tests.unit.cli.conftest import Finished, Run
from tests.unit.client.fakes import Fakes
from veilface.common.database import Database
from veilface.keys.domain.audit import AuditEvent, AuditReading
from veilface.keys.storage.audit import DurableAuditLog
from veilface.keys.storage.migrate import migrate
from veilface.keys.storage.tables import audit_head, audit_records

RECORDS = 10


class Log:
    """The log of a replica whose file can be tampered with."""

    def __init__(self, database: Database, file: Path) -> None:
        self.database = database
        self.file = file
        self.open()

    def open(self) -> None:
        self.log = DurableAuditLog(self.database, self.file, lambda: datetime(2030, 5, 17, tzinfo=UTC))
        self.log.open()

    def write(self, count: int) -> None:
        for index in range(count):
            self.log.append(AuditEvent("spiffe://me", "verify", "keys/a/versions/1", "galleries/a", "ALLOWED", index))

    def restart(self) -> None:
        self.log.close()
        self.open()


@pytest.fixture
def log(tmp_path: Path, fakes: Fakes) -> Iterator[Log]:
    database = Database(f"sqlite:///{tmp_path}/keys.db")
    migrate(database)
    log = Log(database, tmp_path / "audit.jsonl")
    log.write(RECORDS)
    fakes.keys.audit = AuditReading(log.log)
    yield log
    log.log.close()
    database.close()


@pytest.fixture
def verify(veilface: Run, log: Log) -> Run:
    def run(*arguments: str) -> Finished:
        return veilface("keys", "audit", "verify", *arguments, "--file", str(log.file), "--json")

    return run


def broken(finished: Finished, words: str) -> bool:
    error = finished.document["error"]
    assert words in error["message"]
    return finished.exit_code == 3 and error["reason"] == "AUDIT_BROKEN"


def test_an_untouched_log_and_its_file_are_in_order(verify: Run, log: Log) -> None:
    head = log.log.head()
    expected = {"record_count": RECORDS, "file_record_count": RECORDS, "head": f"{RECORDS}:{head.hash.hex()}"}
    assert verify().document == expected
    log.write(3)
    assert verify("--head", f"{RECORDS}:{head.hash.hex()}").document["record_count"] == RECORDS + 3


def edit(lines: list[str]) -> list[str]:
    return [*lines[:4], lines[4].replace('"decision_count":4', '"decision_count":5'), *lines[5:]]


def reorder(lines: list[str]) -> list[str]:
    return [*lines[:4], lines[5], lines[4], *lines[6:]]


def cut(lines: list[str]) -> list[str]:
    return lines[:-2]


def remove(lines: list[str]) -> list[str]:
    return lines[:3] + lines[5:]


def cut_the_last_line_short(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1][:20]]


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (edit, "differ at record 5"),
        (reorder, "has record 5 behind record 6"),
        (cut, "no file has records 9 to 10"),
        (remove, "no file has records 4 to 5"),
        (cut_the_last_line_short, "is cut short"),
    ],
)
def test_a_file_that_was_tampered_with_is_found(
    verify: Run, log: Log, tamper: Callable[[list[str]], list[str]], words: str
) -> None:
    assert verify().exit_code == 0
    log.file.write_text("".join(tamper(log.file.read_text().splitlines(keepends=True))))
    assert broken(verify(), words)


def test_a_file_that_was_emptied_while_the_service_was_down_is_found_afterwards(verify: Run, log: Log) -> None:
    log.log.close()
    log.file.write_text("")
    log.open()
    log.write(2)
    assert broken(verify(), f"no file has records 1 to {RECORDS}")


def test_a_replica_whose_file_is_not_given_is_named_by_its_records(verify: Run, log: Log, tmp_path: Path) -> None:
    other = Log(log.database, tmp_path / "other.jsonl")
    other.write(2)
    log.write(1)
    assert broken(verify(), f"no file has records {RECORDS + 1} to {RECORDS + 2},")
    assert verify("--file", str(other.file)).document["file_record_count"] == RECORDS + 3
    other.log.close()


def test_a_database_that_was_cut_consistently_is_found_by_the_file_and_by_a_head(
    veilface: Run, verify: Run, log: Log
) -> None:
    head = log.log.head()
    with log.database.write() as connection:
        connection.execute(delete(audit_records).where(audit_records.c.sequence > 7))
        digest = connection.execute(select(audit_records.c.hash).where(audit_records.c.sequence == 7)).scalar_one()
        connection.execute(update(audit_head).values(sequence=7, hash=digest))
    assert broken(verify(), "has record 8, which the database does not have")
    without_files = ("keys", "audit", "verify", "--json")
    assert veilface(*without_files).document["file_record_count"] == 0
    assert broken(veilface(*without_files, "--head", f"{RECORDS}:{head.hash.hex()}"), "the expected head 10")


def test_a_head_that_the_records_do_not_reach_is_found(veilface: Run, verify: Run, log: Log) -> None:
    with log.database.write() as connection:
        connection.execute(delete(audit_records).where(audit_records.c.sequence > 7))
    assert broken(veilface("keys", "audit", "verify", "--json"), "the expected head 10")


def test_a_head_that_is_none_is_a_wrong_setting(verify: Run) -> None:
    finished = verify("--head", "ten")
    assert (finished.exit_code, finished.document["error"]["reason"]) == (5, "INVALID_SETTING")
