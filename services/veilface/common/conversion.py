"""Pairs of functions between the messages of veilface.types.v1 and domain types. Strict: 0 of an enum is refused."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.signing import KEY_ID_BYTES, SIGNATURE_BYTES, SignatureValue
from veilface.crypto.contract import Metric, Scheme, TemplateSpace, TemplateUse
from veilface.types.v1 import template_pb2

LONGEST_SIGNER = 256

E = TypeVar("E", bound=StrEnum)

_SCHEMES: dict[int, Scheme] = {
    template_pb2.SCHEME_CKKS_PACKED: Scheme.CKKS_PACKED,
    template_pb2.SCHEME_CKKS_TENSEAL: Scheme.CKKS_TENSEAL,
    template_pb2.SCHEME_PAILLIER: Scheme.PAILLIER,
    template_pb2.SCHEME_DAMGARD_JURIK: Scheme.DAMGARD_JURIK,
    template_pb2.SCHEME_OKAMOTO_UCHIYAMA: Scheme.OKAMOTO_UCHIYAMA,
}
_METRICS: dict[int, Metric] = {
    template_pb2.METRIC_COSINE: Metric.COSINE,
    template_pb2.METRIC_SQUARED_EUCLIDEAN: Metric.SQUARED_EUCLIDEAN,
}
_USES: dict[int, TemplateUse] = {
    template_pb2.TEMPLATE_USE_PROBE: TemplateUse.PROBE,
    template_pb2.TEMPLATE_USE_REFERENCE: TemplateUse.REFERENCE,
    template_pb2.TEMPLATE_USE_PLAINTEXT_PROBE: TemplateUse.PLAINTEXT_PROBE,
}


def scheme_from_proto(value: int, unspecified: Scheme | None = None) -> Scheme:
    """Convert a Scheme.

    Args:
        value: The number in the message.
        unspecified: What 0 selects; None refuses it.

    Raises:
        InvalidArgumentError: MISSING_FIELD for a refused 0, INVALID_FIELD for an unknown number.
    """
    return enum_from_proto("scheme", _SCHEMES, value, unspecified)


def scheme_to_proto(scheme: Scheme) -> template_pb2.Scheme.ValueType:
    """Convert a Scheme."""
    return template_pb2.Scheme.ValueType(enum_to_proto(_SCHEMES, scheme))


def metric_from_proto(value: int, unspecified: Metric | None = None) -> Metric:
    """Convert a Metric; arguments and errors as for `scheme_from_proto`."""
    return enum_from_proto("metric", _METRICS, value, unspecified)


def metric_to_proto(metric: Metric) -> template_pb2.Metric.ValueType:
    """Convert a Metric."""
    return template_pb2.Metric.ValueType(enum_to_proto(_METRICS, metric))


def use_from_proto(value: int) -> TemplateUse:
    """Convert a TemplateUse; errors as for `scheme_from_proto`."""
    return enum_from_proto("use", _USES, value)


def use_to_proto(use: TemplateUse) -> template_pb2.TemplateUse.ValueType:
    """Convert a TemplateUse."""
    return template_pb2.TemplateUse.ValueType(enum_to_proto(_USES, use))


def space_from_proto(dimension: int, metric: int) -> TemplateSpace:
    """Convert a dimension and a metric.

    Raises:
        InvalidArgumentError: WRONG_DIMENSION, or as for `metric_from_proto`.
    """
    return TemplateSpace(dimension, metric_from_proto(metric))


def signature_from_proto(message: template_pb2.Signature) -> SignatureValue:
    """Convert a Signature.

    Raises:
        InvalidArgumentError: MISSING_FIELD without a signer, INVALID_FIELD for a wrong length.
    """
    if not message.signer:
        raise InvalidArgumentError(Reason.MISSING_FIELD, "signature.signer is missing: send the message as it was made")
    if len(message.signer) > LONGEST_SIGNER:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"signature.signer has {len(message.signer)} characters; at most {LONGEST_SIGNER}"
        )
    check_length("signature.key_id", message.key_id, KEY_ID_BYTES)
    check_length("signature.value", message.value, SIGNATURE_BYTES)
    return SignatureValue(message.signer, message.key_id, message.value)


def signature_to_proto(signature: SignatureValue) -> template_pb2.Signature:
    """Convert a Signature."""
    return template_pb2.Signature(signer=signature.signer, key_id=signature.key_id, value=signature.value)


def time_from_proto(field: str, message: Timestamp) -> datetime:
    """Convert a Timestamp to an aware UTC time; it keeps microseconds.

    Raises:
        InvalidArgumentError: MISSING_FIELD for the epoch itself, INVALID_FIELD outside of years 1 to 9999.
    """
    if not message.seconds and not message.nanos:
        raise InvalidArgumentError(Reason.MISSING_FIELD, f"{field} is missing")
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"{field} is not a time between years 1 and 9999") from error


def time_to_proto(time: datetime) -> Timestamp:
    """Convert an aware time to a Timestamp."""
    if time.tzinfo is None:
        raise ValueError("a time without a time zone is ambiguous")
    message = Timestamp()
    message.FromDatetime(time)
    return message


def check_length(field: str, value: bytes, expected_bytes: int) -> None:
    """Refuse a field of any other length.

    Raises:
        InvalidArgumentError: MISSING_FIELD if it is empty, INVALID_FIELD for another length.
    """
    if not value:
        raise InvalidArgumentError(Reason.MISSING_FIELD, f"{field} is missing; it has {expected_bytes} bytes")
    if len(value) != expected_bytes:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"{field} has {len(value)} bytes, not {expected_bytes}")


def enum_from_proto(field: str, known: Mapping[int, E], value: int, unspecified: E | None = None) -> E:
    """Convert an enum.

    Args:
        field: The name of the field, for the message.
        known: What each number stands for, without 0.
        value: The number in the message.
        unspecified: What 0 selects; None refuses it.

    Raises:
        InvalidArgumentError: MISSING_FIELD for a refused 0, INVALID_FIELD for an unknown number.
    """
    if value == 0:
        if unspecified is None:
            raise InvalidArgumentError(Reason.MISSING_FIELD, f"{field} is missing; choose one of {_choices(known)}")
        return unspecified
    if value not in known:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"{field} is {value}, which is unknown here; choose one of {_choices(known)}"
        )
    return known[value]


def enum_to_proto(known: Mapping[int, E], member: E) -> int:
    """The number of an enum's member; every member is in `known`."""
    return next(number for number, candidate in known.items() if candidate is member)


def _choices(known: Mapping[int, E]) -> str:
    return ", ".join(known.values())
