"""Request ids: what makes a repeated Enroll answer the same enrollment."""

import hashlib
import json
from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from veilface.common.errors import AlreadyExistsError, NotFoundError, Reason
from veilface.matching.domain.records import EnrollmentDraft
from veilface.matching.domain.store.schema import RequestRow


def find_request(connection: Connection, gallery_uid: int, draft: EnrollmentDraft) -> int | None:
    """The enrollment number that the same request made before, or None.

    Raises:
        AlreadyExistsError: REQUEST_ID_REUSED if the id was used for something else.
        NotFoundError: ENROLLMENT_NOT_FOUND if what it enrolled was erased since.
    """
    row = connection.execute(
        select(RequestRow.enrollment, RequestRow.content_sha256).where(
            RequestRow.gallery_uid == gallery_uid, RequestRow.request_id == draft.request_id
        )
    ).first()
    if row is None:
        return None
    if row.content_sha256 is None:
        raise NotFoundError(
            Reason.ENROLLMENT_NOT_FOUND,
            f"{draft.subject.gallery_name.enrollment(row.enrollment)}, which this request made, was erased since; "
            "choose another request_id to enroll again",
        )
    if row.content_sha256 != content_sha256(draft):
        raise AlreadyExistsError(
            Reason.REQUEST_ID_REUSED, "this request_id enrolled another subject, template or labels; choose a new one"
        )
    return int(row.enrollment)


def record_request(connection: Connection, gallery_uid: int, draft: EnrollmentDraft, enrollment: int) -> None:
    """Remember what the request made."""
    connection.execute(
        insert(RequestRow).values(
            gallery_uid=gallery_uid,
            request_id=draft.request_id,
            enrollment=enrollment,
            content_sha256=content_sha256(draft),
        )
    )


def forget_contents(connection: Connection, gallery_uid: int, enrollments: Sequence[int]) -> None:
    """Keep the request ids of erased enrollments, but nothing that was derived from what they enrolled."""
    connection.execute(
        update(RequestRow)
        .where(RequestRow.gallery_uid == gallery_uid, RequestRow.enrollment.in_(enrollments))
        .values(content_sha256=None)
    )


def content_sha256(draft: EnrollmentDraft) -> bytes:
    """The digest of everything that a request enrolls; the statement binds the ciphertext."""
    described = json.dumps([draft.subject.subject, sorted(draft.labels.items())]).encode()
    return hashlib.sha256(len(described).to_bytes(4, "big") + described + draft.template.statement_bytes).digest()
