from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from veilface.common.errors import InvalidArgumentError, PermissionDeniedError, Reason
from veilface.crypto.contract import Metric, Scheme
from veilface.keys.conversion.keys import change_from_proto, destruction_from_proto, key_to_proto, new_key_from_proto
from veilface.keys.conversion.policy import policy_from_proto, policy_to_proto
from veilface.keys.domain.policy import Grant, KeyPolicy, Operation, Quotas, Release, ThresholdOverride
from veilface.keys.domain.versions import Key
from veilface.keys.v1 import key_service_pb2, policy_pb2
from veilface.types.v1 import template_pb2

CLIENT = "spiffe://veilface/client"
FULL = KeyPolicy(
    grants=(
        Grant(operation=Operation.VERIFY, identities=(CLIENT,)),
        Grant(operation=Operation.IDENTIFY, identities=()),
    ),
    release=Release.BANDED,
    top_k_limit=7,
    plaintext_probe=True,
    quotas=Quotas(answers_per_caller=1, answers_per_target=0, matches_per_candidate=3, reencryptions_per_caller=4),
    thresholds=(ThresholdOverride(model="m", metric=Metric.COSINE, operating_point="strict", threshold=0.7),),
)


@pytest.mark.parametrize("policy", [KeyPolicy(), FULL])
def test_a_policy_survives_the_wire_and_the_database(policy: KeyPolicy) -> None:
    assert policy_from_proto(policy_to_proto(policy)) == policy
    assert KeyPolicy.model_validate_json(policy.model_dump_json()) == policy


def test_an_empty_message_is_the_shipped_policy() -> None:
    assert policy_from_proto(policy_pb2.KeyPolicy()) == KeyPolicy()


def test_a_quota_of_zero_is_no_limit_and_one_not_set_is_the_shipped_limit() -> None:
    policy = policy_from_proto(policy_pb2.KeyPolicy(quotas=policy_pb2.Quotas(answers_per_caller=0)))
    assert policy.quotas == Quotas(answers_per_caller=0)


def test_bands_halve_every_limit_of_answers_and_no_limit_stays_none() -> None:
    quotas = Quotas(answers_per_caller=5, answers_per_target=0, matches_per_candidate=1, reencryptions_per_caller=6)
    assert KeyPolicy(quotas=quotas).quotas_in_force == quotas
    halved = KeyPolicy(quotas=quotas, release=Release.BANDED).quotas_in_force
    assert halved == Quotas(
        answers_per_caller=3, answers_per_target=0, matches_per_candidate=1, reencryptions_per_caller=6
    )


def test_an_operation_without_a_grant_is_open() -> None:
    KeyPolicy().require_granted(Operation.VERIFY, "spiffe://veilface/anybody")


def test_a_grant_names_the_only_identities() -> None:
    FULL.require_granted(Operation.VERIFY, CLIENT)
    with pytest.raises(PermissionDeniedError) as caught:
        FULL.require_granted(Operation.VERIFY, "spiffe://veilface/operator")
    assert caught.value.reason is Reason.POLICY_DENIED


def test_a_grant_without_identities_denies_everybody() -> None:
    with pytest.raises(PermissionDeniedError):
        FULL.require_granted(Operation.IDENTIFY, CLIENT)


def grants(*grants: policy_pb2.Grant) -> policy_pb2.KeyPolicy:
    return policy_pb2.KeyPolicy(grants=grants)


def threshold(**fields: Any) -> policy_pb2.KeyPolicy:
    good: dict[str, Any] = {"model": "m", "metric": template_pb2.METRIC_COSINE, "operating_point": "strict"}
    return policy_pb2.KeyPolicy(thresholds=[policy_pb2.ThresholdOverride(**{**good, **fields})])


@pytest.mark.parametrize(
    "message",
    [
        grants(policy_pb2.Grant(identities=[CLIENT])),
        grants(*[policy_pb2.Grant(operation=policy_pb2.OPERATION_VERIFY)] * 2),
        grants(policy_pb2.Grant(operation=policy_pb2.OPERATION_VERIFY, identities=["no uri"])),
        grants(policy_pb2.Grant(operation=policy_pb2.OPERATION_VERIFY, identities=[CLIENT] * 65)),
        policy_pb2.KeyPolicy(top_k_limit=101),
        policy_pb2.KeyPolicy(quotas=policy_pb2.Quotas(answers_per_caller=2**31)),
        threshold(model=""),
        threshold(metric=template_pb2.METRIC_UNSPECIFIED),
        threshold(operating_point=""),
        threshold(operating_point="Not A Name"),
        threshold(threshold=float("nan")),
        threshold(threshold=float("inf")),
        policy_pb2.KeyPolicy(thresholds=[*threshold().thresholds, *threshold().thresholds]),
    ],
)
def test_a_senseless_policy_is_refused(message: policy_pb2.KeyPolicy) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        policy_from_proto(message)
    assert caught.value.reason in (Reason.INVALID_FIELD, Reason.MISSING_FIELD)


def test_a_sensible_threshold_is_accepted() -> None:
    assert policy_from_proto(threshold(threshold=0.5)).thresholds[0].threshold == 0.5


def test_an_unknown_enum_value_is_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        policy_from_proto(policy_pb2.KeyPolicy(release=99))  # type: ignore[arg-type]


def test_a_new_key_has_the_defaults() -> None:
    new = new_key_from_proto(key_service_pb2.CreateKeyRequest(key_id="office"))
    assert (str(new.name), new.scheme, new.profile) == ("keys/office", Scheme.CKKS_PACKED, "ckks-packed-128")
    assert (new.policy, new.transformed) == (KeyPolicy(), False)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (key_service_pb2.CreateKeyRequest(), Reason.MISSING_FIELD),
        (key_service_pb2.CreateKeyRequest(key_id="Not A Name"), Reason.INVALID_NAME),
        (key_service_pb2.CreateKeyRequest(key_id="a", profile="ckks-packed-40"), Reason.UNKNOWN_PROFILE),
        (key_service_pb2.CreateKeyRequest(key_id="a", scheme=99), Reason.INVALID_FIELD),  # type: ignore[arg-type]
    ],
)
def test_a_senseless_new_key_is_refused(request_: key_service_pb2.CreateKeyRequest, reason: Reason) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        new_key_from_proto(request_)
    assert caught.value.reason is reason


def test_a_change_has_what_its_mask_names_and_nothing_else() -> None:
    key = key_service_pb2.Key(name="keys/office", minimum_version=3, policy=policy_to_proto(FULL))
    both = key_service_pb2.UpdateKeyRequest(key=key, update_mask=FieldMask(paths=["policy", "minimum_version"]))
    one = key_service_pb2.UpdateKeyRequest(key=key, update_mask=FieldMask(paths=["minimum_version"]))
    assert (change_from_proto(both).minimum_version, change_from_proto(both).policy) == (3, FULL)
    assert (change_from_proto(one).minimum_version, change_from_proto(one).policy) == (3, None)


@pytest.mark.parametrize("paths", [[], ["profile"], ["policy.release"], ["policy", "primary_version"]])
def test_a_mask_with_anything_else_is_refused(paths: list[str]) -> None:
    key = key_service_pb2.Key(name="keys/office", policy=policy_pb2.KeyPolicy())
    with pytest.raises(InvalidArgumentError):
        change_from_proto(key_service_pb2.UpdateKeyRequest(key=key, update_mask=FieldMask(paths=paths)))


def test_a_policy_that_the_mask_names_must_be_there() -> None:
    request = key_service_pb2.UpdateKeyRequest(
        key=key_service_pb2.Key(name="keys/office"), update_mask=FieldMask(paths=["policy"])
    )
    with pytest.raises(InvalidArgumentError) as caught:
        change_from_proto(request)
    assert caught.value.reason is Reason.MISSING_FIELD


def test_destruction_is_delayed_unless_it_is_asked_for_at_once() -> None:
    request = key_service_pb2.DestroyKeyVersionRequest
    assert not destruction_from_proto(request()).immediately
    assert destruction_from_proto(request(immediately=True)).immediately
    delayed = destruction_from_proto(request(delay=Duration(seconds=90)))
    assert delayed.delay is not None
    assert (delayed.immediately, delayed.delay.total_seconds()) == (False, 90)


def test_not_immediately_is_a_contradiction() -> None:
    with pytest.raises(InvalidArgumentError):
        destruction_from_proto(key_service_pb2.DestroyKeyVersionRequest(immediately=False))


def test_a_described_key_tells_its_policy_and_no_secret(create: Callable[..., Key]) -> None:
    message = key_to_proto(create(policy=FULL, transformed=True))
    assert policy_from_proto(message.policy) == FULL
    assert message.embedding_transform
    assert message.minimum_version == 1
    assert len(message.SerializeToString()) < 1000
