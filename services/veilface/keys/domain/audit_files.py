"""The audit log's second place: one file per replica, compared with the chain of records."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from veilface.common.errors import ConfigurationError, DataLossError, Reason
from veilface.keys.domain.audit import AuditRecord, StoredRecord, broken


@dataclass(frozen=True, slots=True)
class _Line:
    path: Path
    text: str


class FileComparison:
    """Compares files with the chain as its records pass by.

    Take the newest record's number first, then make the comparison, then let the records pass: so a service that goes
    on writing meanwhile disturbs nothing.

    Args:
        paths: The audit files of all replicas, also of those that are gone. Without any, nothing is compared.
        until: The number of the newest record when the files were opened; every record up to it must be in one.

    Raises:
        ConfigurationError: INVALID_SETTING if a file cannot be read.
        DataLossError: AUDIT_BROKEN if a file is damaged or out of order in itself.
    """

    def __init__(self, paths: Sequence[Path], until: int) -> None:
        self._until = until if paths else 0
        self._lines: dict[int, _Line] = {}
        self._missing: list[int] = []
        for path in paths:
            self._read(path)
        self.record_count = len(self._lines)

    def passing(self, stored: Iterable[StoredRecord]) -> Iterator[StoredRecord]:
        """The records, unchanged.

        Raises:
            DataLossError: AUDIT_BROKEN at the first record that a file has differently.
        """
        for row in stored:
            line = self._lines.pop(row.sequence, None)
            if line is not None and line.text != row.record:
                raise broken(f"{line.path} and the database differ at record {row.sequence}")
            if line is None and row.sequence <= self._until:
                self._missing.append(row.sequence)
            yield row

    def finish(self) -> None:
        """Say what is left over once all records have passed.

        Raises:
            DataLossError: AUDIT_BROKEN if a file has a record that the log has not, or the log one that no file has.
        """
        if self._lines:
            sequence, line = min(self._lines.items(), key=lambda item: item[0])
            raise broken(f"{line.path} has record {sequence}, which the database does not have: the log was cut")
        if self._missing:
            raise broken(
                f"no file has {_ranges(self._missing)}, everything else is in order. Either a file was cut, or not "
                "all were given: every replica has its own, also one that is gone, and so has every reseal"
            )

    def _read(self, path: Path) -> None:
        try:
            text = path.read_text("ascii", errors="replace")
        except OSError as error:
            raise ConfigurationError(Reason.INVALID_SETTING, f"cannot read {path}: {error.strerror}") from error
        if text and not text.endswith("\n"):
            raise broken(f"the last line of {path} is cut short; its service completes it when it starts")
        writer, last = "", 0
        for line in text.splitlines():
            record = _parsed(path, line)
            if record.sequence <= last:
                raise broken(f"{path} has record {record.sequence} behind record {last}")
            if writer and record.writer != writer:
                raise broken(f"{path} has records of several writers, expected one")
            if record.sequence in self._lines:
                raise broken(f"{path} and {self._lines[record.sequence].path} both have record {record.sequence}")
            self._lines[record.sequence] = _Line(path, line)
            writer, last = record.writer, record.sequence


def _parsed(path: Path, line: str) -> AuditRecord:
    try:
        return AuditRecord.from_json(line)
    except DataLossError as error:
        raise DataLossError(error.reason, f"{error.message} ({path})") from error


def _ranges(numbers: Sequence[int]) -> str:
    """ "record 3" or "records 3 to 5, 9", of ascending numbers."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    words = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)
    return f"record {words}" if len(numbers) == 1 else f"records {words}"
