"""Templates and score batches with the signature of the service that made them.

The statement travels as bytes and those bytes are signed: nothing depends on protobuf serializing the same
way twice.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from veilface.common.conversion import (
    check_length,
    enum_from_proto,
    enum_to_proto,
    metric_to_proto,
    scheme_from_proto,
    scheme_to_proto,
    signature_from_proto,
    signature_to_proto,
    space_from_proto,
    time_from_proto,
    time_to_proto,
    use_from_proto,
    use_to_proto,
)
from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, Reason
from veilface.common.identities import EMBEDDING_IDENTITY, MATCHING_IDENTITY
from veilface.common.names import GalleryName, KeyVersionName, SubjectName
from veilface.common.signing import SCORE_DOMAIN, TEMPLATE_DOMAIN, SignatureValue, Signer, TrustStore
from veilface.common.statements import (
    DIGEST_BYTES,
    LONGEST_MODEL,
    LONGEST_PROFILE,
    check_range,
    check_statement_size,
    check_text,
    parse_statement,
    serialize_statement,
    verify_signature,
)
from veilface.crypto.contract import Scheme, TemplateSpace, TemplateUse
from veilface.types.v1 import score_pb2, template_pb2

LARGEST_SCORE_COUNT = 1 << 20
LARGEST_BATCH_COUNT = 1 << 20
LARGEST_GENERATION = 2**63 - 1
LARGEST_GALLERY_UID = 2**63 - 1
LARGEST_SEGMENT = 2**31 - 1
NONCE_BYTES = 16


class Circuit(StrEnum):
    """The computation that made a score ciphertext."""

    VERIFY = "verify"
    SEARCH = "search"


_CIRCUITS: dict[int, Circuit] = {
    score_pb2.CIRCUIT_VERIFY: Circuit.VERIFY,
    score_pb2.CIRCUIT_SEARCH: Circuit.SEARCH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateStatement:
    """What the embedding service vouches for; fields as in the message of the same name.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_FIELD or INVALID_NAME for a value that the message does not allow.
    """

    key_version: str
    scheme: Scheme
    profile: str
    space: TemplateSpace
    model: str
    use: TemplateUse
    ciphertext_sha256: bytes
    create_time: datetime

    def __post_init__(self) -> None:
        KeyVersionName.parse(self.key_version)
        check_text("profile", self.profile, LONGEST_PROFILE)
        check_text("model", self.model, LONGEST_MODEL)
        check_length("ciphertext_sha256", self.ciphertext_sha256, DIGEST_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreStatement:
    """The ticket that the matching service gives out with scores; fields as in the message of the same name.

    `gallery` is empty when two templates were compared directly; `subject` is set when one subject was verified.
    `reference_sha256` is set in 1:1 comparisons, `gallery_uid` and `segment` are in searches.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_FIELD or INVALID_NAME for a value that the message does not allow.
    """

    key_version: str
    scheme: Scheme
    profile: str
    circuit: Circuit
    model: str
    space: TemplateSpace
    gallery: str
    generation: int
    subject: str
    probe_sha256: bytes
    ciphertext_sha256: bytes
    score_count: int
    batch_index: int
    batch_count: int
    nonce: bytes
    expire_time: datetime
    reference_sha256: bytes = b""
    gallery_uid: int = 0
    segment: int = 0

    def __post_init__(self) -> None:
        KeyVersionName.parse(self.key_version)
        check_text("profile", self.profile, LONGEST_PROFILE)
        check_text("model", self.model, LONGEST_MODEL)
        self._check_target()
        self._check_counted()
        check_length("probe_sha256", self.probe_sha256, DIGEST_BYTES)
        check_length("ciphertext_sha256", self.ciphertext_sha256, DIGEST_BYTES)
        check_length("nonce", self.nonce, NONCE_BYTES)
        check_range("generation", self.generation, 0, LARGEST_GENERATION)
        check_range("score_count", self.score_count, 1, LARGEST_SCORE_COUNT)
        check_range("batch_count", self.batch_count, 1, LARGEST_BATCH_COUNT)
        check_range("batch_index", self.batch_index, 0, self.batch_count - 1)

    def _check_target(self) -> None:
        if self.gallery:
            GalleryName.parse(self.gallery)
        if self.circuit is Circuit.SEARCH and not self.gallery:
            raise InvalidArgumentError(Reason.MISSING_FIELD, "gallery is missing: a search is of a gallery")
        if self.subject:
            if self.circuit is Circuit.SEARCH:
                raise InvalidArgumentError(Reason.INVALID_FIELD, "subject is set: a search is not of one subject")
            if str(SubjectName.parse(self.subject).gallery_name) != self.gallery:
                raise InvalidArgumentError(Reason.INVALID_FIELD, "subject is not of the gallery of the same ticket")

    def _check_counted(self) -> None:
        is_search = self.circuit is Circuit.SEARCH
        if not is_search:
            check_length("reference_sha256", self.reference_sha256, DIGEST_BYTES)
        elif self.reference_sha256:
            raise InvalidArgumentError(Reason.INVALID_FIELD, "reference_sha256 is set: a search has many references")
        check_range("gallery_uid", self.gallery_uid, int(is_search), LARGEST_GALLERY_UID if is_search else 0)
        check_range("segment", self.segment, 0, LARGEST_SEGMENT if is_search else 0)


@dataclass(frozen=True, slots=True)
class SignedTemplate:
    """A template as it travels. Nothing about it is known to be true before `verify_template`.

    Attributes:
        statement_bytes: A serialized TemplateStatement, 1 to 4096 bytes.
        ciphertext: The encrypted embedding.
        signature: The embedding service's signature of `statement_bytes`.
    """

    statement_bytes: bytes
    ciphertext: bytes
    signature: SignatureValue


@dataclass(frozen=True, slots=True)
class SignedScores:
    """A score batch as it travels. Nothing about it is known to be true before `verify_scores`.

    Attributes:
        statement_bytes: A serialized ScoreStatement, 1 to 4096 bytes.
        ciphertext: The encrypted scores.
        signature: The matching service's signature of `statement_bytes`.
    """

    statement_bytes: bytes
    ciphertext: bytes
    signature: SignatureValue


def sign_template(signer: Signer, statement: TemplateStatement, ciphertext: bytes) -> SignedTemplate:
    """Vouch for a template.

    Raises:
        InvalidArgumentError: DIGEST_MISMATCH if the statement is about another ciphertext.
    """
    _check_digest(statement.ciphertext_sha256, ciphertext)
    message = template_pb2.TemplateStatement(
        key_version=statement.key_version,
        scheme=scheme_to_proto(statement.scheme),
        profile=statement.profile,
        model=statement.model,
        dimension=statement.space.dimension,
        metric=metric_to_proto(statement.space.metric),
        use=use_to_proto(statement.use),
        ciphertext_sha256=statement.ciphertext_sha256,
        create_time=time_to_proto(statement.create_time),
    )
    statement_bytes = serialize_statement(message)
    return SignedTemplate(statement_bytes, ciphertext, signer.sign(TEMPLATE_DOMAIN, statement_bytes))


def verify_template(
    trust: TrustStore, signed: SignedTemplate, signers: Collection[str] = (EMBEDDING_IDENTITY,)
) -> TemplateStatement:
    """Check the signature, then the digest, and answer what is vouched for.

    Args:
        trust: The trusted public keys.
        signed: The template.
        signers: The identities that may vouch for a template; trusted keys of others do not count.

    Raises:
        PermissionDeniedError: UNTRUSTED_SIGNER or BAD_SIGNATURE.
        InvalidArgumentError: DIGEST_MISMATCH if the ciphertext is not the signed one; MISSING_FIELD, INVALID_FIELD or
            INVALID_NAME for a statement that the signer should not have made.
    """
    verify_signature(trust, TEMPLATE_DOMAIN, signed.statement_bytes, signed.signature, signers)
    message = template_pb2.TemplateStatement()
    parse_statement(message, signed.statement_bytes)
    _check_digest(message.ciphertext_sha256, signed.ciphertext)
    return TemplateStatement(
        key_version=message.key_version,
        scheme=scheme_from_proto(message.scheme),
        profile=message.profile,
        space=space_from_proto(message.dimension, message.metric),
        model=message.model,
        use=use_from_proto(message.use),
        ciphertext_sha256=message.ciphertext_sha256,
        create_time=time_from_proto("create_time", message.create_time),
    )


def template_to_proto(signed: SignedTemplate) -> template_pb2.Template:
    """Convert a Template."""
    return template_pb2.Template(
        statement=signed.statement_bytes,
        ciphertext=signed.ciphertext,
        signature=signature_to_proto(signed.signature),
    )


def template_from_proto(message: template_pb2.Template) -> SignedTemplate:
    """Convert a Template.

    Raises:
        InvalidArgumentError: MISSING_FIELD or INVALID_FIELD.
    """
    _check_parts("template", message.statement, message.ciphertext, message.HasField("signature"))
    return SignedTemplate(message.statement, message.ciphertext, signature_from_proto(message.signature))


def sign_scores(signer: Signer, statement: ScoreStatement, ciphertext: bytes) -> SignedScores:
    """Vouch for a score batch.

    Raises:
        InvalidArgumentError: DIGEST_MISMATCH if the statement is about another ciphertext.
    """
    _check_digest(statement.ciphertext_sha256, ciphertext)
    message = score_pb2.ScoreStatement(
        key_version=statement.key_version,
        scheme=scheme_to_proto(statement.scheme),
        profile=statement.profile,
        circuit=score_pb2.Circuit.ValueType(enum_to_proto(_CIRCUITS, statement.circuit)),
        model=statement.model,
        dimension=statement.space.dimension,
        metric=metric_to_proto(statement.space.metric),
        gallery=statement.gallery,
        generation=statement.generation,
        subject=statement.subject,
        probe_sha256=statement.probe_sha256,
        reference_sha256=statement.reference_sha256,
        gallery_uid=statement.gallery_uid,
        segment=statement.segment,
        ciphertext_sha256=statement.ciphertext_sha256,
        score_count=statement.score_count,
        batch_index=statement.batch_index,
        batch_count=statement.batch_count,
        nonce=statement.nonce,
        expire_time=time_to_proto(statement.expire_time),
    )
    statement_bytes = serialize_statement(message)
    return SignedScores(statement_bytes, ciphertext, signer.sign(SCORE_DOMAIN, statement_bytes))


def verify_scores(
    trust: TrustStore, signed: SignedScores, now: datetime, signers: Collection[str] = (MATCHING_IDENTITY,)
) -> ScoreStatement:
    """Check the signature, the digest and the expiry, and answer what is vouched for.

    Args:
        trust: The trusted public keys.
        signed: The score batch.
        now: The present time, with a time zone.
        signers: The identities that may vouch for scores; trusted keys of others do not count.

    Raises:
        PermissionDeniedError: UNTRUSTED_SIGNER or BAD_SIGNATURE.
        InvalidArgumentError: DIGEST_MISMATCH if the ciphertext is not the signed one; MISSING_FIELD, INVALID_FIELD or
            INVALID_NAME for a statement that the signer should not have made.
        FailedPreconditionError: TICKET_EXPIRED.
    """
    verify_signature(trust, SCORE_DOMAIN, signed.statement_bytes, signed.signature, signers)
    message = score_pb2.ScoreStatement()
    parse_statement(message, signed.statement_bytes)
    _check_digest(message.ciphertext_sha256, signed.ciphertext)
    statement = ScoreStatement(
        key_version=message.key_version,
        scheme=scheme_from_proto(message.scheme),
        profile=message.profile,
        circuit=enum_from_proto("circuit", _CIRCUITS, message.circuit),
        model=message.model,
        space=space_from_proto(message.dimension, message.metric),
        gallery=message.gallery,
        generation=message.generation,
        subject=message.subject,
        probe_sha256=message.probe_sha256,
        reference_sha256=message.reference_sha256,
        gallery_uid=message.gallery_uid,
        segment=message.segment,
        ciphertext_sha256=message.ciphertext_sha256,
        score_count=message.score_count,
        batch_index=message.batch_index,
        batch_count=message.batch_count,
        nonce=message.nonce,
        expire_time=time_from_proto("expire_time", message.expire_time),
    )
    if now >= statement.expire_time:
        raise FailedPreconditionError(
            Reason.TICKET_EXPIRED, f"the ticket expired at {statement.expire_time.isoformat()}: compare or search again"
        )
    return statement


def scores_to_proto(signed: SignedScores) -> score_pb2.ScoreBatch:
    """Convert a ScoreBatch."""
    return score_pb2.ScoreBatch(
        statement=signed.statement_bytes,
        ciphertext=signed.ciphertext,
        signature=signature_to_proto(signed.signature),
    )


def scores_from_proto(message: score_pb2.ScoreBatch) -> SignedScores:
    """Convert a ScoreBatch.

    Raises:
        InvalidArgumentError: MISSING_FIELD or INVALID_FIELD.
    """
    _check_parts("score batch", message.statement, message.ciphertext, message.HasField("signature"))
    return SignedScores(message.statement, message.ciphertext, signature_from_proto(message.signature))


def _check_digest(expected_sha256: bytes, ciphertext: bytes) -> None:
    # Both sides are public, so the comparison need not take constant time.
    if hashlib.sha256(ciphertext).digest() != expected_sha256:
        raise InvalidArgumentError(
            Reason.DIGEST_MISMATCH,
            "the ciphertext is not the one that the statement is about: pass on both unchanged",
        )


def _check_parts(what: str, statement_bytes: bytes, ciphertext: bytes, has_signature: bool) -> None:
    if not statement_bytes:
        raise InvalidArgumentError(Reason.MISSING_FIELD, f"the {what} has no statement: pass it on as it was made")
    check_statement_size(statement_bytes)
    if not ciphertext:
        raise InvalidArgumentError(Reason.MISSING_FIELD, f"the {what} has no ciphertext: pass it on as it was made")
    if not has_signature:
        raise InvalidArgumentError(Reason.MISSING_FIELD, f"the {what} has no signature: pass it on as it was made")
