"""Statements that are signed: protobuf messages that travel as the very bytes that were signed."""

from collections.abc import Collection

from google.protobuf.message import DecodeError, Message

from veilface.common.errors import InvalidArgumentError, PermissionDeniedError, Reason
from veilface.common.signing import SignatureValue, TrustStore

LARGEST_STATEMENT_BYTES = 4096
LONGEST_MODEL = 200
LONGEST_PROFILE = 64
DIGEST_BYTES = 32


def verify_signature(
    trust: TrustStore, domain: str, statement_bytes: bytes, signature: SignatureValue, signers: Collection[str]
) -> None:
    """Check who signed, and the signature.

    Args:
        trust: The trusted public keys.
        domain: What the signature is for.
        statement_bytes: What is signed.
        signature: The signature.
        signers: The identities that may vouch for this; trusted keys of others do not count.

    Raises:
        PermissionDeniedError: UNTRUSTED_SIGNER or BAD_SIGNATURE.
    """
    if signature.signer not in signers:
        raise PermissionDeniedError(
            Reason.UNTRUSTED_SIGNER, f"only {', '.join(sorted(signers))} may vouch for this, whoever else is trusted"
        )
    trust.verify(domain, statement_bytes, signature)


def serialize_statement(message: Message) -> bytes:
    """The bytes to sign. Raises InvalidArgumentError INVALID_FIELD if they are too many."""
    statement_bytes = message.SerializeToString(deterministic=True)
    check_statement_size(statement_bytes)
    return statement_bytes


def parse_statement(message: Message, statement_bytes: bytes) -> None:
    """Fill `message` from signed bytes. Raises InvalidArgumentError INVALID_FIELD."""
    check_statement_size(statement_bytes)
    try:
        message.ParseFromString(statement_bytes)
    except DecodeError as error:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"statement is not a serialized {message.DESCRIPTOR.full_name}"
        ) from error


def check_statement_size(statement_bytes: bytes) -> None:
    """Refuse a statement that is too large. Raises InvalidArgumentError INVALID_FIELD."""
    if len(statement_bytes) > LARGEST_STATEMENT_BYTES:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD,
            f"the statement has {len(statement_bytes)} bytes; at most {LARGEST_STATEMENT_BYTES} are allowed",
        )


def check_text(field: str, value: str, longest: int) -> None:
    """Refuse a text that is empty, too long or not printable. Raises InvalidArgumentError."""
    if not value:
        raise InvalidArgumentError(Reason.MISSING_FIELD, f"{field} is missing")
    if len(value) > longest or not value.isprintable():
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"{field} is not 1 to {longest} printable characters")


def check_range(field: str, value: int, smallest: int, largest: int) -> None:
    """Refuse a number outside of a range. Raises InvalidArgumentError INVALID_FIELD."""
    if not smallest <= value <= largest:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"{field} is {value}, not {smallest} to {largest}")
