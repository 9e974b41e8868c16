"""The audit log in two places: the database, which orders the records of all replicas, and a file of this replica."""

import fcntl
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, func, insert, select, update

from veilface.common.database import Database
from veilface.common.errors import ConfigurationError, Reason, UnavailableError, VeilfaceError
from veilface.keys.domain.audit import AuditEvent, AuditHead, AuditRecord, StoredRecord, broken, verify_chain
from veilface.keys.domain.audit_files import FileComparison
from veilface.keys.storage.tables import audit_head, audit_records

WRITER_BYTES = 8
_PAGE = 1000
_TAIL_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a verification found to be in order."""

    head: AuditHead
    file_record_count: int


class DurableAuditLog:
    """See `veilface.keys.domain.audit.AuditLog`. One object per process and file.

    A record is committed to the database first and then appended to the file. A record that a crash, or a full disk,
    kept from the file is added to it before the next one.

    Args:
        path: This replica's file, one JSON record a line. Made with mode 0600 if there is none.
        clock: The current time.
    """

    def __init__(self, database: Database, path: Path, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._writer = ""
        self._last_in_file = 0

    def open(self) -> None:
        """Open the file and continue where it ends. The database must be migrated.

        Raises:
            ConfigurationError: INVALID_SETTING if the file cannot be opened, or another process writes it.
            DataLossError: AUDIT_BROKEN if the file holds a record that the database does not, or ends with anything but
                a record or the beginning of the next one.
            UnavailableError: DEPENDENCY_UNAVAILABLE.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"the audit file {self._path} cannot be opened: {error.strerror}"
            ) from error
        try:
            _lock_file(descriptor, self._path)
            self._writer, self._last_in_file = self._resume(descriptor)
        except VeilfaceError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def append(self, event: AuditEvent) -> None:
        """See AuditLog."""
        with self._lock:
            if self._descriptor is None:
                raise UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "the audit log is not open")
            with self._database.write() as connection:
                self._append_to_database(connection, event)
            self._catch_up(self._descriptor)

    def catch_up(self) -> None:
        """Append to the file what could not be written to it before, if there is anything.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE if it cannot be written now either, or the log is not open.
        """
        with self._lock:
            if self._descriptor is None:
                raise UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "the audit log is not open")
            self._catch_up(self._descriptor)

    def head(self) -> AuditHead:
        """See AuditLog."""
        with self._database.read() as connection:
            return _read_head(connection)

    def page(self, after: int, limit: int) -> list[StoredRecord]:
        """See AuditLog."""
        with self._database.read() as connection:
            return _page(connection, after, limit)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append_to_database(self, connection: Connection, event: AuditEvent) -> None:
        # The update takes the row's lock, so that the writers of all replicas go one after the other.
        connection.execute(update(audit_head).values(sequence=audit_head.c.sequence + 1))
        locked = connection.execute(select(audit_head)).one()
        time = self._clock().astimezone(UTC).isoformat(timespec="microseconds")
        record = AuditRecord(locked.sequence, time, self._writer, locked.hash.hex(), event)
        record_hash = record.hash()
        connection.execute(
            insert(audit_records).values(
                sequence=record.sequence, writer=self._writer, record=record.to_json(), hash=record_hash
            )
        )
        connection.execute(update(audit_head).values(hash=record_hash))

    def _catch_up(self, descriptor: int) -> None:
        """Append to the file what the database has from this writer and the file has not."""
        statement = (
            select(audit_records.c.sequence, audit_records.c.record)
            .where(audit_records.c.writer == self._writer, audit_records.c.sequence > self._last_in_file)
            .order_by(audit_records.c.sequence)
        )
        with self._database.read() as connection:
            missing = connection.execute(statement).all()
        if not missing:
            return
        try:
            for row in missing:
                line = row.record.encode() + b"\n"
                if os.write(descriptor, line) != len(line):
                    raise OSError("short write")
                self._last_in_file = row.sequence
            os.fsync(descriptor)
        except OSError as error:
            raise UnavailableError(
                Reason.DEPENDENCY_UNAVAILABLE, f"the audit file cannot be written: {error.strerror}"
            ) from error

    def _resume(self, descriptor: int) -> tuple[str, int]:
        """Which writer the file belongs to and the last record in it."""
        if os.fstat(descriptor).st_size == 0:
            return secrets.token_hex(WRITER_BYTES), 0
        last_line, rest, complete_bytes = _end_of_file(descriptor)
        if not last_line:
            raise broken(f"{self._path} does not end with a record: keep it elsewhere, and begin a new file")
        record = AuditRecord.from_json(last_line.decode("ascii", errors="replace"))
        following = (
            select(audit_records.c.record)
            .where(audit_records.c.writer == record.writer, audit_records.c.sequence >= record.sequence)
            .order_by(audit_records.c.sequence)
            .limit(2)
        )
        up_to_it = select(func.count()).where(
            audit_records.c.writer == record.writer, audit_records.c.sequence <= record.sequence
        )
        with self._database.read() as connection:
            stored, *unwritten = [*connection.scalars(following), ""]
            expected_lines = connection.scalars(up_to_it).one()
        if stored != record.to_json():
            raise broken(
                f"{self._path} ends with record {record.sequence}, which the database does not have: the log was cut, "
                "or this is the file of another vault"
            )
        if (lines := _count_lines(descriptor)) != expected_lines:
            raise broken(
                f"{self._path} has {lines} records up to record {record.sequence}, the database {expected_lines} of "
                "the same writer"
            )
        # A crash may have left the beginning of a line; anything else is not of this log.
        if not unwritten[0].encode().startswith(rest):
            raise broken(f"{self._path} goes on after record {record.sequence} with something that is no record")
        os.ftruncate(descriptor, complete_bytes)
        return record.writer, record.sequence


def _lock_file(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"another process writes the audit file {path}: every process needs one of its own"
        ) from error


def verify_audit(database: Database, files: Sequence[Path], expected: AuditHead | None) -> AuditReport:
    """Check the log in the database, the files of its writers, and a head that was written down earlier.

    Args:
        files: The files of all writers, or none.

    Raises:
        DataLossError: AUDIT_BROKEN at the first thing that is not as it was written.
        ConfigurationError: INVALID_SETTING if a file cannot be read.
    """
    with database.read() as connection:
        newest = _read_head(connection).sequence
    comparison = FileComparison(files, newest)
    with database.read() as connection:
        heads = () if expected is None else (expected,)
        found = verify_chain(comparison.passing(_stored(connection)), *heads)
        if _read_head(connection) != found:
            raise broken(f"the database's log ends at {found.sequence}, its head is elsewhere")
    comparison.finish()
    return AuditReport(found, comparison.record_count)


def _stored(connection: Connection) -> Iterator[StoredRecord]:
    after = 0
    while rows := _page(connection, after, _PAGE):
        yield from rows
        after = rows[-1].sequence


def _page(connection: Connection, after: int, limit: int) -> list[StoredRecord]:
    statement = (
        select(audit_records.c.sequence, audit_records.c.record, audit_records.c.hash)
        .where(audit_records.c.sequence > after)
        .order_by(audit_records.c.sequence)
        .limit(limit)
    )
    return [StoredRecord(row.sequence, row.record, row.hash) for row in connection.execute(statement)]


def _read_head(connection: Connection) -> AuditHead:
    row = connection.execute(select(audit_head)).one()
    return AuditHead(row.sequence, row.hash)


def _end_of_file(descriptor: int) -> tuple[bytes, bytes, int]:
    """The last line that ends with a newline, what follows it, and how many bytes come before that."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL_BYTES)
    tail = os.pread(descriptor, size - start, start)
    end = tail.rfind(b"\n")
    if end < 0:
        return b"", tail, start
    return tail[tail.rfind(b"\n", 0, end) + 1 : end], tail[end + 1 :], start + end + 1


def _count_lines(descriptor: int) -> int:
    count, offset = 0, 0
    while block := os.pread(descriptor, _BLOCK_BYTES, offset):
        count += block.count(b"\n")
        offset += len(block)
    return count
