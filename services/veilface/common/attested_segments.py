"""Segments with the signature of the operator who encrypted them. The statement travels as the signed bytes."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from veilface.common.conversion import (
    check_length,
    metric_to_proto,
    scheme_from_proto,
    scheme_to_proto,
    space_from_proto,
    time_from_proto,
    time_to_proto,
)
from veilface.common.identities import OPERATOR_IDENTITY
from veilface.common.names import GalleryName, KeyVersionName
from veilface.common.signing import SEGMENT_DOMAIN, SignatureValue, Signer, TrustStore
from veilface.common.statements import (
    DIGEST_BYTES,
    LONGEST_MODEL,
    LONGEST_PROFILE,
    check_range,
    check_text,
    parse_statement,
    serialize_statement,
    verify_signature,
)
from veilface.crypto.contract import Scheme, TemplateSpace
from veilface.types.v1 import segment_pb2

LARGEST_SLOT_COUNT = 1 << 20
LARGEST_SEGMENT_BYTES = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentStatement:
    """What an operator vouches for; fields as in the message of the same name.

    Raises:
        InvalidArgumentError: MISSING_FIELD, INVALID_FIELD or INVALID_NAME for a value that the message does not allow.
    """

    key_version: str
    scheme: Scheme
    profile: str
    model: str
    space: TemplateSpace
    gallery: GalleryName
    slot_count: int
    segment_bytes: int
    segment_sha256: bytes
    subject_ids_sha256: bytes
    create_time: datetime

    def __post_init__(self) -> None:
        KeyVersionName.parse(self.key_version)
        check_text("profile", self.profile, LONGEST_PROFILE)
        check_text("model", self.model, LONGEST_MODEL)
        check_range("slot_count", self.slot_count, 1, LARGEST_SLOT_COUNT)
        check_range("segment_bytes", self.segment_bytes, 1, LARGEST_SEGMENT_BYTES)
        check_length("segment_sha256", self.segment_sha256, DIGEST_BYTES)
        check_length("subject_ids_sha256", self.subject_ids_sha256, DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class SignedSegmentStatement:
    """A statement as it travels. Nothing about it is known to be true before `verify_segment`.

    Attributes:
        statement_bytes: A serialized SegmentStatement, 1 to 4096 bytes.
        signature: The operator's signature of `statement_bytes`.
    """

    statement_bytes: bytes
    signature: SignatureValue


def subject_ids_sha256(subject_ids: Sequence[str]) -> bytes:
    """The digest of the subjects of the slots. An id holds no line feed, so the joined text can be read in one way."""
    return hashlib.sha256("\n".join(subject_ids).encode()).digest()


def sign_segment(signer: Signer, statement: SegmentStatement) -> SignedSegmentStatement:
    """Vouch for a segment."""
    message = segment_pb2.SegmentStatement(
        key_version=statement.key_version,
        scheme=scheme_to_proto(statement.scheme),
        profile=statement.profile,
        model=statement.model,
        dimension=statement.space.dimension,
        metric=metric_to_proto(statement.space.metric),
        gallery=str(statement.gallery),
        slot_count=statement.slot_count,
        segment_bytes=statement.segment_bytes,
        segment_sha256=statement.segment_sha256,
        subject_ids_sha256=statement.subject_ids_sha256,
        create_time=time_to_proto(statement.create_time),
    )
    statement_bytes = serialize_statement(message)
    return SignedSegmentStatement(statement_bytes, signer.sign(SEGMENT_DOMAIN, statement_bytes))


def verify_segment(
    trust: TrustStore, signed: SignedSegmentStatement, signers: Collection[str] = (OPERATOR_IDENTITY,)
) -> SegmentStatement:
    """Check the signature and answer what is vouched for. The bytes of the segment are not compared with it yet.

    Args:
        trust: The trusted public keys.
        signed: The statement.
        signers: The identities that may vouch for a segment; trusted keys of others do not count.

    Raises:
        PermissionDeniedError: UNTRUSTED_SIGNER or BAD_SIGNATURE.
        InvalidArgumentError: MISSING_FIELD, INVALID_FIELD or INVALID_NAME for a statement that the signer should not
            have made.
    """
    verify_signature(trust, SEGMENT_DOMAIN, signed.statement_bytes, signed.signature, signers)
    message = segment_pb2.SegmentStatement()
    parse_statement(message, signed.statement_bytes)
    return SegmentStatement(
        key_version=message.key_version,
        scheme=scheme_from_proto(message.scheme),
        profile=message.profile,
        model=message.model,
        space=space_from_proto(message.dimension, message.metric),
        gallery=GalleryName.parse(message.gallery),
        slot_count=message.slot_count,
        segment_bytes=message.segment_bytes,
        segment_sha256=message.segment_sha256,
        subject_ids_sha256=message.subject_ids_sha256,
        create_time=time_from_proto("create_time", message.create_time),
    )
