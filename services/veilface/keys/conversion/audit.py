"""Audit records."""

from collections.abc import Sequence

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.keys.domain.audit import AuditHead, StoredRecord
from veilface.keys.v1 import key_service_pb2

_LARGEST_SEQUENCE = 2**63 - 1


def head_to_proto(head: AuditHead) -> key_service_pb2.AuditHead:
    """Convert an AuditHead."""
    return key_service_pb2.AuditHead(sequence=head.sequence, hash=head.hash)


def audit_page_token_from_proto(page_token: str) -> int:
    """The sequence number to continue after; 0 for the first page.

    Raises:
        InvalidArgumentError: INVALID_PAGE_TOKEN.
    """
    if not page_token:
        return 0
    if not (page_token.isascii() and page_token.isdecimal()) or int(page_token) > _LARGEST_SEQUENCE:
        raise InvalidArgumentError(Reason.INVALID_PAGE_TOKEN, "page_token is not one that ListAuditRecords answered")
    return int(page_token)


def records_to_proto(
    records: Sequence[StoredRecord], next_after: int | None
) -> key_service_pb2.ListAuditRecordsResponse:
    """Convert a page of records."""
    return key_service_pb2.ListAuditRecordsResponse(
        records=[
            key_service_pb2.AuditRecord(sequence=each.sequence, record=each.record, hash=each.hash) for each in records
        ],
        next_page_token="" if next_after is None else str(next_after),
    )
