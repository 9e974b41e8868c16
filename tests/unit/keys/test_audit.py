import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, update

from veilface.common.database import Database
from veilface.common.errors import (
    ConfigurationError,
    DataLossError,
    InvalidArgumentError,
    PermissionDeniedError,
    Reason,
    UnavailableError,
)
from veilface.keys.domain.audit import AuditEvent, AuditReading, AuditRecord, audited
from veilface.keys.storage import audit
from veilface.keys.storage.audit import DurableAuditLog, verify_audit
from veilface.keys.storage.tables import audit_head, audit_records

ON_BOTH_DATABASES = True

EVENT = AuditEvent("spiffe://veilface/client", "verify", "keys/office/versions/1", "galleries/staff", "ALLOWED", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def log(database: Database, path: Path, clock: Any) -> Iterator[DurableAuditLog]:
    log = DurableAuditLog(database, path, clock)
    log.open()
    yield log
    log.close()


def write(log: DurableAuditLog, count: int) -> None:
    for index in range(count):
        log.append(AuditEvent(EVENT.actor, EVENT.operation, EVENT.resource, EVENT.gallery, "ALLOWED", index))


@contextmanager
def refused(words: str) -> Iterator[None]:
    with pytest.raises(DataLossError, match=words) as caught:
        yield
    assert caught.value.reason is Reason.AUDIT_BROKEN


def test_an_untouched_log_is_in_order(log: DurableAuditLog, database: Database, path: Path) -> None:
    write(log, 25)
    report = verify_audit(database, [path], log.head())
    assert report.head == log.head()
    assert (report.head.sequence, report.file_record_count) == (25, 25)


def test_an_empty_log_is_in_order(log: DurableAuditLog, database: Database) -> None:
    assert verify_audit(database, [], log.head()).head.sequence == 0


def test_a_record_holds_exactly_the_agreed_fields(log: DurableAuditLog, path: Path) -> None:
    log.append(EVENT)
    record = json.loads(path.read_text())
    assert set(record) == {"sequence", "time", "writer", "previous_hash", "event"}
    assert set(record["event"]) == {"actor", "operation", "resource", "gallery", "outcome", "decision_count"}


def _edit(connection: Connection, sequence: int, change: Callable[[dict[str, Any]], None]) -> None:
    text = connection.execute(select(audit_records.c.record).where(audit_records.c.sequence == sequence)).scalar_one()
    record = json.loads(text)
    change(record)
    changed = json.dumps(record, sort_keys=True, separators=(",", ":"))
    connection.execute(update(audit_records).where(audit_records.c.sequence == sequence).values(record=changed))


def edit_actor(connection: Connection) -> None:
    _edit(connection, 5, lambda record: record["event"].update(actor="spiffe://veilface/nobody"))


def edit_and_rehash(connection: Connection) -> None:
    edit_actor(connection)
    text = connection.execute(select(audit_records.c.record).where(audit_records.c.sequence == 5)).scalar_one()
    changed = AuditRecord.from_json(text).hash()
    connection.execute(update(audit_records).where(audit_records.c.sequence == 5).values(hash=changed))


def edit_hash(connection: Connection) -> None:
    connection.execute(update(audit_records).where(audit_records.c.sequence == 5).values(hash=bytes(32)))


def remove_from_the_middle(connection: Connection) -> None:
    connection.execute(delete(audit_records).where(audit_records.c.sequence == 5))


def remove_the_first(connection: Connection) -> None:
    connection.execute(delete(audit_records).where(audit_records.c.sequence == 1))


def swap(connection: Connection) -> None:
    for old, new in ((5, 100), (6, 5), (100, 6)):
        connection.execute(update(audit_records).where(audit_records.c.sequence == old).values(sequence=new))


def swap_contents(connection: Connection) -> None:
    rows = {
        row.sequence: row
        for row in connection.execute(select(audit_records).where(audit_records.c.sequence.in_([5, 6])))
    }
    for target, source in ((5, 6), (6, 5)):
        values = {"record": rows[source].record, "hash": rows[source].hash}
        connection.execute(update(audit_records).where(audit_records.c.sequence == target).values(values))


def cut_the_end(connection: Connection) -> None:
    connection.execute(delete(audit_records).where(audit_records.c.sequence > 7))


def spaces_in_a_record(connection: Connection) -> None:
    text = connection.execute(select(audit_records.c.record).where(audit_records.c.sequence == 5)).scalar_one()
    connection.execute(update(audit_records).where(audit_records.c.sequence == 5).values(record=text + " "))


def a_record_that_is_no_json(connection: Connection) -> None:
    connection.execute(update(audit_records).where(audit_records.c.sequence == 5).values(record="{"))


@pytest.mark.parametrize(
    "tamper",
    [
        edit_actor,
        edit_and_rehash,
        edit_hash,
        remove_from_the_middle,
        remove_the_first,
        swap,
        swap_contents,
        cut_the_end,
        spaces_in_a_record,
        a_record_that_is_no_json,
    ],
)
def test_tampering_with_the_database_is_found(
    log: DurableAuditLog, database: Database, tamper: Callable[[Connection], None]
) -> None:
    write(log, 10)
    verify_audit(database, [], None)
    with database.write() as connection:
        tamper(connection)
    with refused("broken"):
        verify_audit(database, [], None)


def truncate_consistently(database: Database, keep: int) -> None:
    """What a thorough attacker does: the shorter log is consistent in itself."""
    with database.write() as connection:
        connection.execute(delete(audit_records).where(audit_records.c.sequence > keep))
        digest = connection.execute(select(audit_records.c.hash).where(audit_records.c.sequence == keep)).scalar_one()
        connection.execute(update(audit_head).values(sequence=keep, hash=digest))


def test_a_consistent_truncation_is_found_by_a_head_kept_elsewhere(log: DurableAuditLog, database: Database) -> None:
    write(log, 10)
    head = log.head()
    truncate_consistently(database, 7)
    verify_audit(database, [], None)
    with refused("does not contain the expected head"):
        verify_audit(database, [], head)


def test_a_consistent_truncation_is_found_by_the_file(log: DurableAuditLog, database: Database, path: Path) -> None:
    write(log, 10)
    truncate_consistently(database, 7)
    with refused("has record 8, which the database does not have"):
        verify_audit(database, [path], None)


def test_a_rewritten_history_is_found_by_a_head_kept_elsewhere(
    log: DurableAuditLog, database: Database, tmp_path: Path, clock: Any
) -> None:
    write(log, 10)
    head = log.head()
    with database.write() as connection:
        connection.execute(delete(audit_records))
        connection.execute(update(audit_head).values(sequence=0, hash=bytes(32)))
    forged = DurableAuditLog(database, tmp_path / "forged.jsonl", clock)
    forged.open()
    write(forged, 12)
    verify_audit(database, [], None)
    with refused("does not contain the expected head"):
        verify_audit(database, [], head)


def test_an_old_head_stays_valid_while_the_log_grows(log: DurableAuditLog, database: Database) -> None:
    write(log, 5)
    head = log.head()
    write(log, 5)
    verify_audit(database, [], head)


def test_a_verification_beside_a_running_service_sees_one_state(
    log: DurableAuditLog, database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(log, 3)
    read_head = audit._read_head

    def late(connection: Connection) -> object:
        write(log, 1)
        return read_head(connection)

    with monkeypatch.context() as patched:
        patched.setattr(audit, "_read_head", late)
        # One record more before the chain is read, another one between the chain and its head.
        assert verify_audit(database, [path], None).head.sequence == 4
    assert verify_audit(database, [path], None).head.sequence == 5


@pytest.mark.parametrize("damage", ["edit", "reorder", "cut", "append"])
def test_tampering_with_the_file_is_found(log: DurableAuditLog, database: Database, path: Path, damage: str) -> None:
    write(log, 6)
    lines = path.read_text().splitlines()
    if damage == "edit":
        lines[2] = lines[2].replace('"decision_count":2', '"decision_count":3')
    elif damage == "reorder":
        lines[2], lines[3] = lines[3], lines[2]
    elif damage == "cut":
        lines = lines[:-1]
    else:
        lines.append(lines[-1])
    path.write_text("\n".join(lines) + "\n")
    with refused("record"):
        verify_audit(database, [path], None)


def test_an_emptied_file_is_found_and_a_new_one_is_not(
    log: DurableAuditLog, database: Database, path: Path, tmp_path: Path
) -> None:
    write(log, 3)
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert verify_audit(database, [path, empty], None).file_record_count == 3
    with refused("no file has records 1 to 3"):
        verify_audit(database, [empty], None)


def test_a_restarted_log_continues_the_chain_and_the_file(
    log: DurableAuditLog, database: Database, path: Path, clock: Any
) -> None:
    write(log, 3)
    log.close()
    again = DurableAuditLog(database, path, clock)
    again.open()
    write(again, 2)
    report = verify_audit(database, [path], again.head())
    assert (report.head.sequence, report.file_record_count) == (5, 5)
    again.close()


def test_a_record_that_a_crash_kept_from_the_file_is_added_later(
    log: DurableAuditLog, database: Database, path: Path, clock: Any
) -> None:
    write(log, 3)
    log.close()
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:20])
    again = DurableAuditLog(database, path, clock)
    again.open()
    write(again, 1)
    assert verify_audit(database, [path], None).file_record_count == 4
    again.close()


def test_a_file_with_a_record_that_the_database_lost_is_not_continued(
    log: DurableAuditLog, database: Database, path: Path, clock: Any
) -> None:
    write(log, 10)
    log.close()
    truncate_consistently(database, 7)
    with refused("the database does not have"):
        DurableAuditLog(database, path, clock).open()


def test_a_file_has_one_writer_at_a_time(log: DurableAuditLog, database: Database, path: Path, clock: Any) -> None:
    write(log, 2)
    other = DurableAuditLog(database, path, clock)
    with pytest.raises(ConfigurationError, match="needs one of its own"):
        other.open()
    log.close()
    other.open()
    write(other, 1)
    assert verify_audit(database, [path], None).file_record_count == 3
    other.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines[0][:20],
        lambda lines: "x" * (1 << 17),
        lambda lines: "".join(lines) + "x",
        lambda lines: "".join(lines) + lines[0],
        lambda lines: "".join(lines) + "\n",
        lambda lines: "".join(lines) + lines[-1][:40],
        lambda lines: "".join(lines[:-1]) + lines[-1].replace("ALLOWED", "COMPLETED"),
    ],
)
def test_a_file_that_ends_with_no_record_of_this_log_is_neither_continued_nor_changed(
    log: DurableAuditLog, database: Database, path: Path, clock: Any, damage: Callable[[list[str]], str]
) -> None:
    write(log, 3)
    log.close()
    intact = path.read_text()
    damaged = damage(intact.splitlines(keepends=True))
    path.write_text(damaged)
    again = DurableAuditLog(database, path, clock)
    with refused("broken"):
        again.open()
    assert path.read_text() == damaged
    path.write_text(intact)
    again.open()
    again.close()


def test_two_replicas_write_one_chain_and_two_files(database: Database, tmp_path: Path, clock: Any) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    logs = [DurableAuditLog(database, file, clock) for file in files]
    for log in logs:
        log.open()
    threads = [threading.Thread(target=write, args=(log, 20)) for log in logs for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify_audit(database, files, None)
    assert (report.head.sequence, report.file_record_count) == (80, 80)
    for log in logs:
        log.close()


def test_a_file_that_cannot_be_written_fails_the_append(
    log: DurableAuditLog, monkeypatch: pytest.MonkeyPatch, database: Database, path: Path
) -> None:
    write(log, 1)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(UnavailableError):
            log.append(EVENT)
    log.append(EVENT)
    assert verify_audit(database, [path], None).file_record_count == 3


def test_a_log_that_is_not_open_takes_nothing(database: Database, path: Path, clock: Any) -> None:
    with pytest.raises(UnavailableError):
        DurableAuditLog(database, path, clock).append(EVENT)


def test_a_file_in_an_impossible_place_is_refused(database: Database, clock: Any) -> None:
    with pytest.raises(ConfigurationError):
        DurableAuditLog(database, Path("/proc/nowhere/audit.jsonl"), clock).open()


def test_the_file_is_private(log: DurableAuditLog, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_refusal_is_recorded_with_its_reason(audit: Any) -> None:
    with pytest.raises(PermissionDeniedError), audited(audit, "me", "verify", "keys/a"):
        raise PermissionDeniedError(Reason.POLICY_DENIED, "no")
    assert [(event.actor, event.outcome) for event in audit.events] == [("me", "POLICY_DENIED")]


def test_an_unforeseen_failure_after_permission_is_recorded_too(audit: Any) -> None:
    def fail() -> None:
        with audited(audit, "me", "verify") as entry:
            entry.allow()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [event.outcome for event in audit.events] == ["ALLOWED", "INTERNAL"]


def test_an_effect_without_a_record_is_a_bug_that_shows(audit: Any) -> None:
    with pytest.raises(AssertionError), audited(audit, "me", "verify"):
        pass


def test_pages_of_records_are_complete(log: DurableAuditLog) -> None:
    write(log, 7)
    reading = AuditReading(log)
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        records, after = reading.page(3, after)
        seen += [record.sequence for record in records]
    assert seen == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("page_size", [-1, 1001])
def test_a_page_size_out_of_range_is_refused(log: DurableAuditLog, page_size: int) -> None:
    with pytest.raises(InvalidArgumentError):
        AuditReading(log).page(page_size, 0)
