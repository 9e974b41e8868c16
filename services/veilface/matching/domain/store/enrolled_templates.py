"""One signed template, one enrollment: who enrolls a face again extracts it again."""

from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError

from veilface.common.errors import AlreadyExistsError, Reason
from veilface.common.identities import KEYS_IDENTITY
from veilface.common.names import KeyVersionName
from veilface.matching.domain.records import EnrollmentDraft
from veilface.matching.domain.store.schema import EnrolledTemplateRow


def claim_template(connection: Connection, draft: EnrollmentDraft) -> None:
    """Remember that the template is enrolled; the mark outlives its enrollment and its gallery.

    Raises:
        AlreadyExistsError: TEMPLATE_ENROLLED if it was enrolled before, under any name, or is the copy of an enrolled
            one that the key service moved to another version.
    """
    if draft.template.signature.signer == KEYS_IDENTITY:
        raise _enrolled("this template was re-encrypted from an enrolled one")
    key = KeyVersionName.parse(draft.statement.key_version).key
    try:
        connection.execute(
            insert(EnrolledTemplateRow).values(key=key, template_sha256=draft.statement.ciphertext_sha256)
        )
    except IntegrityError as error:
        raise _enrolled("this template was enrolled before, though the enrollment may be erased by now") from error


def _enrolled(why: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        Reason.TEMPLATE_ENROLLED,
        f"{why}, and a template is good for one enrollment: extract the photograph again; to repeat a request, send it "
        "with its own request_id",
    )
