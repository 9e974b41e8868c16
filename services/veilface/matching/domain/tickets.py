"""Tickets: with every score batch goes a signed statement of what was computed, on which the key service decides."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from veilface.common.attested import (
    NONCE_BYTES,
    Circuit,
    ScoreStatement,
    SignedScores,
    TemplateStatement,
    sign_scores,
    verify_scores,
)
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.signing import Signer, TrustStore
from veilface.matching.domain.records import Gallery, ImportedSlot, SegmentPlace

_IMPORTED_DOMAIN: Final = b"veilface.imported-enrollment.v1\x00"


def now_utc() -> datetime:
    """The present time."""
    return datetime.now(UTC)


def imported_reference_sha256(imported: ImportedSlot) -> bytes:
    """What stands for the digest of an enrollment that has no ciphertext of its own; slots change, its number stays."""
    numbers = imported.place.gallery_uid.to_bytes(8, "big") + imported.enrollment.to_bytes(8, "big")
    return hashlib.sha256(_IMPORTED_DOMAIN + numbers).digest()


@dataclass(frozen=True, slots=True)
class Answer:
    """What all batches of one answer have in common.

    Attributes:
        gallery: None if two templates are compared directly.
        subject: "galleries/{gallery}/subjects/{subject}" if one subject is verified, else empty.
        nonce: Names the answer.
    """

    circuit: Circuit
    probe: TemplateStatement
    gallery: Gallery | None
    subject: str
    batch_count: int
    nonce: bytes

    @classmethod
    def to(
        cls,
        circuit: Circuit,
        probe: TemplateStatement,
        *,
        gallery: Gallery | None,
        batch_count: int,
        subject: str = "",
    ) -> "Answer":
        """A new answer."""
        return cls(circuit, probe, gallery, subject, batch_count, secrets.token_bytes(NONCE_BYTES))


class TicketIssuer:
    """Signs score batches, and checks those that other replicas signed.

    Args:
        signer: The matching service's key.
        lifetime_s: For how long a ticket is accepted.
        clock: The present time, with a time zone.
    """

    def __init__(self, signer: Signer, lifetime_s: float, clock: Callable[[], datetime] = now_utc) -> None:
        self._signer = signer
        self._own_trust = TrustStore({signer.identity: [signer.public_key_bytes]})
        self._lifetime = timedelta(seconds=lifetime_s)
        self._clock = clock

    def sign_comparison(
        self, answer: Answer, batch_index: int, ciphertext: bytes, reference_sha256: bytes
    ) -> SignedScores:
        """Vouch for the score of one reference: the digest of its ciphertext, or what stands for it."""
        return self._sign(answer, batch_index, ciphertext, 1, reference_sha256=reference_sha256)

    def sign_segment(
        self, answer: Answer, batch_index: int, ciphertext: bytes, score_count: int, place: SegmentPlace
    ) -> SignedScores:
        """Vouch for the scores of one segment."""
        return self._sign(
            answer, batch_index, ciphertext, score_count, gallery_uid=place.gallery_uid, segment=place.number
        )

    def check_segment(
        self, answer: Answer, batch_index: int, signed: SignedScores, score_count: int, place: SegmentPlace
    ) -> None:
        """Check that another replica vouches for exactly what `sign_segment` would vouch for here.

        Replicas share one key. While it is exchanged, those with the old and those with the new one refuse each other.

        Raises:
            PermissionDeniedError: UNTRUSTED_SIGNER or BAD_SIGNATURE.
            InvalidArgumentError: DIGEST_MISMATCH for other scores than the signed ones, INVALID_FIELD for a statement
                about something else; see also `verify_scores`.
            FailedPreconditionError: TICKET_EXPIRED.
        """
        statement = verify_scores(self._own_trust, signed, self._clock())
        expected = _statement(
            answer,
            batch_index,
            statement.ciphertext_sha256,
            score_count,
            statement.expire_time,
            gallery_uid=place.gallery_uid,
            segment=place.number,
        )
        if statement != expected:
            raise InvalidArgumentError(
                Reason.INVALID_FIELD, f"the ticket is not about segment {place.number} as it was asked for"
            )

    def _sign(
        self,
        answer: Answer,
        batch_index: int,
        ciphertext: bytes,
        score_count: int,
        *,
        reference_sha256: bytes = b"",
        gallery_uid: int = 0,
        segment: int = 0,
    ) -> SignedScores:
        statement = _statement(
            answer,
            batch_index,
            hashlib.sha256(ciphertext).digest(),
            score_count,
            self._clock() + self._lifetime,
            reference_sha256=reference_sha256,
            gallery_uid=gallery_uid,
            segment=segment,
        )
        return sign_scores(self._signer, statement, ciphertext)


def _statement(
    answer: Answer,
    batch_index: int,
    ciphertext_sha256: bytes,
    score_count: int,
    expire_time: datetime,
    *,
    reference_sha256: bytes = b"",
    gallery_uid: int = 0,
    segment: int = 0,
) -> ScoreStatement:
    probe = answer.probe
    return ScoreStatement(
        key_version=probe.key_version,
        scheme=probe.scheme,
        profile=probe.profile,
        circuit=answer.circuit,
        model=probe.model,
        space=probe.space,
        gallery=str(answer.gallery.name) if answer.gallery is not None else "",
        generation=answer.gallery.generation if answer.gallery is not None else 0,
        subject=answer.subject,
        probe_sha256=probe.ciphertext_sha256,
        reference_sha256=reference_sha256,
        gallery_uid=gallery_uid,
        segment=segment,
        ciphertext_sha256=ciphertext_sha256,
        score_count=score_count,
        batch_index=batch_index,
        batch_count=answer.batch_count,
        nonce=answer.nonce,
        expire_time=expire_time,
    )
