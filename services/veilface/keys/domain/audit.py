"""The audit log: who did what with which key, chained by hashes so that nothing can be changed unseen.

A record holds names, an outcome and a count - never a score, a template, a decision's result or a subject. Each record
holds the hash of the one before it (Schneier & Kelsey, "Secure Audit Logs to Support Computer Forensics", 1999). The
hash of the newest record, kept somewhere else, pins the whole history.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Final, Protocol

from veilface.common.errors import DataLossError, InvalidArgumentError, Reason, VeilfaceError

ALLOWED: Final = "ALLOWED"
ALLOWED_IN_PART: Final = "ALLOWED_IN_PART"
COMPLETED: Final = "COMPLETED"
LARGEST_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100
FIRST_HASH: Final = bytes(32)
_DOMAIN: Final = b"veilface.audit.v1\x00"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that was allowed or refused.

    Attributes:
        actor: The caller's identity.
        operation: What was asked for.
        resource: The key or key version; empty if the request did not get that far.
        gallery: The gallery that scores came from; empty if there is none.
        outcome: "ALLOWED"; "ALLOWED_IN_PART" for a search without those candidates that were named often enough;
            "COMPLETED" at the end of a long operation; or the reason of the refusal or failure.
        decision_count: How many scores a decision looked at, or how many templates were moved; 0 for everything else.
    """

    actor: str
    operation: str
    resource: str
    gallery: str
    outcome: str
    decision_count: int


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An event at its place in the chain.

    Attributes:
        sequence: From 1, without gaps.
        time: When it was recorded, ISO 8601 in UTC.
        writer: Which replica recorded it.
        previous_hash: The hash of the record before, in hexadecimal; 64 zeros for the first.
    """

    sequence: int
    time: str
    writer: str
    previous_hash: str
    event: AuditEvent

    def to_json(self) -> str:
        """The one encoding that is hashed and stored."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> "AuditRecord":
        """Parse what `to_json` wrote.

        Raises:
            DataLossError: AUDIT_BROKEN for anything else.
        """
        try:
            fields = json.loads(text)
            record = cls(**{**fields, "event": AuditEvent(**fields["event"])})
        except (ValueError, TypeError, KeyError) as error:
            raise broken("a record cannot be parsed") from error
        if record.to_json() != text:
            raise broken("a record is not written as this service writes it")
        return record

    def hash(self) -> bytes:
        """What the next record holds as previous hash, 32 bytes."""
        return hashlib.sha256(_DOMAIN + self.to_json().encode()).digest()


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest record: keep it outside of the database to find a truncated log.

    Attributes:
        sequence: 0 for an empty log.
        hash: 32 bytes.
    """

    sequence: int
    hash: bytes


EMPTY_HEAD: Final = AuditHead(0, FIRST_HASH)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it is stored: its JSON and its hash."""

    sequence: int
    record: str
    hash: bytes


class AuditLog(Protocol):
    """An append-only log."""

    def append(self, event: AuditEvent) -> None:
        """Write an event to every sink, durably, before it returns.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE if a sink did not take it: what was to be recorded must not happen.
        """
        ...

    def head(self) -> AuditHead:
        """The newest record."""
        ...

    def page(self, after: int, limit: int) -> Sequence[StoredRecord]:
        """Records in order, from the first after this sequence number."""
        ...


class AuditReading:
    """The log for those who check it from outside."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def head(self) -> AuditHead:
        """The newest record."""
        return self._log.head()

    def page(self, page_size: int, after: int) -> tuple[Sequence[StoredRecord], int | None]:
        """A page of records, and the sequence number to continue after; None on the last page.

        Args:
            page_size: 0 selects 100.

        Raises:
            InvalidArgumentError: INVALID_FIELD if `page_size` is not in 0..1000.
        """
        if not 0 <= page_size <= LARGEST_PAGE:
            raise InvalidArgumentError(Reason.INVALID_FIELD, f"page_size is 0 to {LARGEST_PAGE}, not {page_size}")
        limit = page_size or DEFAULT_PAGE
        records = self._log.page(after, limit + 1)
        return records[:limit], records[limit - 1].sequence if len(records) > limit else None


@dataclass(slots=True)
class AuditEntry:
    """What is known so far about an operation that is under way."""

    log: AuditLog
    actor: str
    operation: str
    resource: str = ""
    gallery: str = ""
    decision_count: int = 0
    is_allowed: bool = field(default=False, init=False)

    def allow(self, outcome: str = ALLOWED) -> None:
        """Record that the operation goes ahead. Call it before the effect, never after."""
        self._append(outcome)
        self.is_allowed = True

    def complete(self) -> None:
        """Record the end of a long operation, with what it counted."""
        self._append(COMPLETED)

    def fail(self, reason: Reason) -> None:
        """Record that the operation was refused, or failed after it was allowed."""
        self._append(reason.value)

    def _append(self, outcome: str) -> None:
        self.log.append(
            AuditEvent(self.actor, self.operation, self.resource, self.gallery, outcome, self.decision_count)
        )


@contextmanager
def audited(log: AuditLog, actor: str, operation: str, resource: str = "") -> Iterator[AuditEntry]:
    """Record an operation: its refusal or failure on the way out, and its permission when the block calls `allow`.

    Raises:
        UnavailableError: DEPENDENCY_UNAVAILABLE if the log cannot be written.
    """
    entry = AuditEntry(log, actor, operation, resource)
    try:
        yield entry
        if not entry.is_allowed:
            raise AssertionError(f"{operation} had its effect without a record")
    except VeilfaceError as error:
        entry.fail(error.reason)
        raise
    except Exception:
        entry.fail(Reason.INTERNAL)
        raise


def verify_chain(stored: Iterable[StoredRecord], *expected: AuditHead) -> AuditHead:
    """Check a whole log.

    Args:
        stored: Every record, in order.
        expected: Heads that were written down earlier; the log must contain them.

    Returns:
        The newest record.

    Raises:
        DataLossError: AUDIT_BROKEN, saying where the log was edited, reordered or cut.
    """
    head = EMPTY_HEAD
    unseen = set(expected) - {EMPTY_HEAD}
    for row in stored:
        record = AuditRecord.from_json(row.record)
        if record.sequence != row.sequence:
            raise broken(f"record {record.sequence} was moved to {row.sequence}")
        if record.sequence != head.sequence + 1:
            raise broken(f"record {head.sequence + 1} is missing: record {record.sequence} follows {head.sequence}")
        if record.previous_hash != head.hash.hex():
            raise broken(f"record {record.sequence} does not continue record {head.sequence}")
        if record.hash() != row.hash:
            raise broken(f"record {record.sequence} was changed")
        head = AuditHead(record.sequence, row.hash)
        unseen.discard(head)
    if unseen:
        missing = min(unseen, key=lambda each: each.sequence)
        raise broken(
            f"it does not contain the expected head {missing.sequence} ({missing.hash.hex()}): the log ends at "
            f"{head.sequence}, or was rewritten"
        )
    return head


def broken(why: str) -> DataLossError:
    """The error of a log that is not as it was written."""
    return DataLossError(Reason.AUDIT_BROKEN, f"the audit log is broken: {why}")
