"""Tickets: with every score batch goes a signed statement of what was computed, on which the key service decides."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from veilface.common.attested import (
    NONCE_BYTES,
    Circuit,
    ScoreStatement,
    SignedScores,
    TemplateStatement,
    sign_scores,
)
from veilface.common.signing import Signer
from veilface.matching.domain.records import Gallery


def now_utc() -> datetime:
    """The present time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """What all batches of one answer have in common.

    Attributes:
        gallery: None if two templates are compared directly.
        subject: "galleries/{gallery}/subjects/{subject}" if one subject is verified, else empty.
        nonce: Names the answer.
        reference_sha256: The digest of the reference if two templates are compared directly, else empty.
    """

    circuit: Circuit
    probe: TemplateStatement
    gallery: Gallery | None
    subject: str
    batch_count: int
    nonce: bytes
    reference_sha256: bytes

    @classmethod
    def to(
        cls,
        circuit: Circuit,
        probe: TemplateStatement,
        *,
        gallery: Gallery | None,
        batch_count: int,
        subject: str = "",
        reference_sha256: bytes = b"",
    ) -> "Answer":
        """A new answer."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return cls(circuit, probe, gallery, subject, batch_count, nonce, reference_sha256)


class TicketIssuer:
    """Signs score batches.

    Args:
        signer: The matching service's key.
        lifetime_s: For how long a ticket is accepted.
        clock: The present time, with a time zone.
    """

    def __init__(self, signer: Signer, lifetime_s: float, clock: Callable[[], datetime] = now_utc) -> None:
        self._signer = signer
        self._lifetime = timedelta(seconds=lifetime_s)
        self._clock = clock

    def sign(self, answer: Answer, batch_index: int, ciphertext: bytes, score_count: int) -> SignedScores:
        """Vouch for one batch of an answer."""
        probe = answer.probe
        statement = ScoreStatement(
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
            reference_sha256=answer.reference_sha256,
            ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
            score_count=score_count,
            batch_index=batch_index,
            batch_count=answer.batch_count,
            nonce=answer.nonce,
            expire_time=self._clock() + self._lifetime,
        )
        return sign_scores(self._signer, statement, ciphertext)
