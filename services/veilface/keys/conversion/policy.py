"""Key policies."""

from collections.abc import Sequence

from veilface.common.conversion import enum_from_proto, enum_to_proto, metric_from_proto, metric_to_proto
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.keys.domain.policy import (
    Grant,
    KeyPolicy,
    Operation,
    Quotas,
    Release,
    ThresholdOverride,
    checked,
)
from veilface.keys.v1 import policy_pb2

_OPERATIONS: dict[int, Operation] = {
    policy_pb2.OPERATION_ENCRYPT: Operation.ENCRYPT,
    policy_pb2.OPERATION_EVALUATE: Operation.EVALUATE,
    policy_pb2.OPERATION_VERIFY: Operation.VERIFY,
    policy_pb2.OPERATION_IDENTIFY: Operation.IDENTIFY,
    policy_pb2.OPERATION_REENCRYPT: Operation.REENCRYPT,
    policy_pb2.OPERATION_TRANSFORM: Operation.TRANSFORM,
    policy_pb2.OPERATION_MANAGE: Operation.MANAGE,
    policy_pb2.OPERATION_IMPORT: Operation.IMPORT,
}
_RELEASES: dict[int, Release] = {
    policy_pb2.RELEASE_DECISION: Release.DECISION,
    policy_pb2.RELEASE_BANDED: Release.BANDED,
}


def policy_from_proto(message: policy_pb2.KeyPolicy) -> KeyPolicy:
    """Convert a KeyPolicy; what is not set gets its shipped value.

    Raises:
        InvalidArgumentError: MISSING_FIELD or INVALID_FIELD, saying which part is wrong.
    """
    return checked(
        KeyPolicy,
        grants=tuple(_grant_from_proto(grant) for grant in message.grants),
        release=enum_from_proto("policy.release", _RELEASES, message.release, Release.DECISION),
        top_k_limit=message.top_k_limit or KeyPolicy().top_k_limit,
        plaintext_probe=message.plaintext_probe_allowed,
        quotas=_quotas_from_proto(message.quotas),
        thresholds=tuple(_threshold_from_proto(threshold) for threshold in message.thresholds),
    )


def policy_to_proto(policy: KeyPolicy) -> policy_pb2.KeyPolicy:
    """Convert a KeyPolicy."""
    return policy_pb2.KeyPolicy(
        grants=[grant_to_proto(grant.operation, grant.identities) for grant in policy.grants],
        release=policy_pb2.Release.ValueType(enum_to_proto(_RELEASES, policy.release)),
        top_k_limit=policy.top_k_limit,
        plaintext_probe_allowed=policy.plaintext_probe,
        quotas=policy_pb2.Quotas(
            answers_per_caller=policy.quotas.answers_per_caller,
            answers_per_target=policy.quotas.answers_per_target,
            matches_per_candidate=policy.quotas.matches_per_candidate,
            reencryptions_per_caller=policy.quotas.reencryptions_per_caller,
        ),
        thresholds=[
            policy_pb2.ThresholdOverride(
                model=threshold.model,
                metric=metric_to_proto(threshold.metric),
                operating_point=threshold.operating_point,
                threshold=threshold.threshold,
            )
            for threshold in policy.thresholds
        ],
    )


def grant_to_proto(operation: Operation, identities: Sequence[str]) -> policy_pb2.Grant:
    """Convert a Grant."""
    value = policy_pb2.Operation.ValueType(enum_to_proto(_OPERATIONS, operation))
    return policy_pb2.Grant(operation=value, identities=identities)


def _grant_from_proto(message: policy_pb2.Grant) -> Grant:
    operation = enum_from_proto("policy.grants.operation", _OPERATIONS, message.operation)
    return checked(Grant, operation=operation, identities=tuple(message.identities))


def _quotas_from_proto(message: policy_pb2.Quotas) -> Quotas:
    # A limit that is set to 0 is listed, one that is not set is not.
    return checked(Quotas, **{field.name: value for field, value in message.ListFields()})


def _threshold_from_proto(message: policy_pb2.ThresholdOverride) -> ThresholdOverride:
    if not message.model or not message.operating_point:
        raise InvalidArgumentError(
            Reason.MISSING_FIELD, "policy.thresholds: a threshold names its model and its operating_point"
        )
    return checked(
        ThresholdOverride,
        model=message.model,
        metric=metric_from_proto(message.metric),
        operating_point=message.operating_point,
        threshold=message.threshold,
    )
