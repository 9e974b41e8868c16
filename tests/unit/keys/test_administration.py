from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    UnavailableError,
)
from veilface.common.names import KeyName
from veilface.crypto.contract import Metric, Scheme
from veilface.keys.domain.administration import Destruction, KeyAdministration, KeyChange, NewKey
from veilface.keys.domain.policy import Grant, KeyPolicy, Operation, ThresholdOverride
from veilface.keys.domain.vault import Vault
from veilface.keys.domain.versions import Key, VersionState

OPERATOR = "spiffe://veilface/operator"
NAME = KeyName("office")
FIRST = NAME.version(1)


@pytest.fixture
def administration(means: Any) -> KeyAdministration:
    return KeyAdministration(means.vault, means.decrypters, means.audit, means.thresholds)


def granting(operation: Operation, *identities: str) -> KeyPolicy:
    return KeyPolicy(grants=(Grant(operation=operation, identities=identities),))


CHANGES: dict[str, Callable[[KeyAdministration], object]] = {
    "update-key": lambda keys: keys.update_key(OPERATOR, KeyChange(NAME, None, KeyPolicy(top_k_limit=3))),
    "rotate-key": lambda keys: keys.rotate_key(OPERATOR, NAME),
    "disable-version": lambda keys: keys.disable_version(OPERATOR, FIRST),
    "enable-version": lambda keys: keys.enable_version(OPERATOR, FIRST),
    "restore-version": lambda keys: keys.restore_version(OPERATOR, FIRST),
    "destroy-version": lambda keys: keys.destroy_version(OPERATOR, FIRST, Destruction(None, immediately=True)),
    "schedule-destruction": lambda keys: keys.destroy_version(OPERATOR, FIRST, Destruction(None, immediately=False)),
}


def test_a_policy_with_too_many_operating_points_is_refused_at_once(
    administration: KeyAdministration, create: Callable[..., Key], vault: Vault, audit: Any
) -> None:
    create()
    names = ("strict", "balanced", "lenient", "paranoid")
    points = [ThresholdOverride(model="m", metric=Metric.COSINE, operating_point=name, threshold=0.5) for name in names]
    few, many = KeyPolicy(thresholds=tuple(points[:3])), KeyPolicy(thresholds=tuple(points))
    for ask in (
        lambda: administration.update_key(OPERATOR, KeyChange(NAME, None, many)),
        lambda: administration.create_key(
            OPERATOR, NewKey(KeyName("lobby"), Scheme.CKKS_PACKED, "ckks-packed-128", many, transformed=False)
        ),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            ask()
        assert caught.value.reason is Reason.INVALID_FIELD
        assert audit.events[-1].outcome == Reason.INVALID_FIELD.value
    assert vault.get_key(NAME).policy == KeyPolicy()
    administration.update_key(OPERATOR, KeyChange(NAME, None, few))
    assert vault.get_key(NAME).policy == few


def prepare(vault: Vault, operation: str) -> None:
    """Bring version 1 into a state in which the change is possible."""
    if operation in ("enable-version", "destroy-version", "schedule-destruction"):
        vault.disable(FIRST)
    if operation == "restore-version":
        vault.disable(FIRST)
        vault.schedule_destruction(FIRST, timedelta(days=2))


@pytest.mark.parametrize("operation", CHANGES)
def test_every_change_is_recorded(
    create: Callable[..., Key], vault: Vault, administration: KeyAdministration, audit: Any, operation: str
) -> None:
    create()
    prepare(vault, operation)
    CHANGES[operation](administration)
    (event,) = audit.events
    assert (event.actor, event.operation, event.outcome) == (OPERATOR, operation, "ALLOWED")
    assert event.resource in (str(NAME), str(FIRST))


@pytest.mark.parametrize("operation", CHANGES)
def test_a_key_is_changed_by_those_only_whom_it_grants_that(
    create: Callable[..., Key], vault: Vault, administration: KeyAdministration, audit: Any, operation: str
) -> None:
    create(policy=granting(Operation.MANAGE, "spiffe://veilface/other"))
    prepare(vault, operation)
    before = vault.get_key(NAME)
    with pytest.raises(PermissionDeniedError):
        CHANGES[operation](administration)
    assert vault.get_key(NAME) == before
    assert [event.outcome for event in audit.events] == ["POLICY_DENIED"]


@pytest.mark.parametrize("operation", CHANGES)
def test_without_the_audit_log_nothing_changes(
    create: Callable[..., Key], vault: Vault, means: Any, operation: str
) -> None:
    class BrokenAudit:
        def append(self, event: object) -> None:
            raise UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "the disk is full")

    create()
    prepare(vault, operation)
    before = vault.get_key(NAME)
    broken = KeyAdministration(vault, means.decrypters, BrokenAudit(), means.thresholds)  # type: ignore[arg-type]
    with pytest.raises(UnavailableError):
        CHANGES[operation](broken)
    assert vault.get_key(NAME) == before


def test_a_failed_change_is_recorded_after_its_permission(administration: KeyAdministration, audit: Any) -> None:
    with pytest.raises(NotFoundError):
        administration.rotate_key(OPERATOR, NAME)
    assert [event.outcome for event in audit.events] == ["KEY_NOT_FOUND"]


def test_a_policy_that_locks_its_author_out_is_refused(
    create: Callable[..., Key], administration: KeyAdministration
) -> None:
    create()
    locking = granting(Operation.MANAGE, "spiffe://veilface/other")
    with pytest.raises(FailedPreconditionError):
        administration.update_key(OPERATOR, KeyChange(NAME, None, locking))
    with pytest.raises(FailedPreconditionError):
        administration.create_key(OPERATOR, NewKey(KeyName("b"), Scheme.CKKS_PACKED, "ckks-packed-128", locking, False))
    administration.update_key(OPERATOR, KeyChange(NAME, None, granting(Operation.MANAGE, OPERATOR)))


def test_disabling_wipes_the_decrypter_at_once(
    create: Callable[..., Key], means: Any, administration: KeyAdministration, decrypter: Any
) -> None:
    create()
    with means.decrypters.lease(means.vault.resolve(FIRST)):
        pass
    version = administration.disable_version(OPERATOR, FIRST)
    assert version.state is VersionState.DISABLED
    assert decrypter.is_wiped


@pytest.mark.parametrize(
    ("operation", "attempt"),
    [
        (Operation.ENCRYPT, lambda keys: keys.public_key("spiffe://veilface/embedding", NAME)),
        (Operation.EVALUATE, lambda keys: keys.evaluation_keys("spiffe://veilface/matching", NAME)),
        (Operation.TRANSFORM, lambda keys: keys.transform_seed("spiffe://veilface/embedding", NAME)),
    ],
)
def test_material_goes_to_those_only_whom_the_key_grants_it(
    create: Callable[..., Key],
    administration: KeyAdministration,
    audit: Any,
    operation: Operation,
    attempt: Callable[[KeyAdministration], object],
) -> None:
    create(policy=granting(operation, "spiffe://veilface/other"), transformed=True)
    with pytest.raises(PermissionDeniedError):
        attempt(administration)
    assert [event.outcome for event in audit.events] == ["POLICY_DENIED"]
    administration.update_key(OPERATOR, KeyChange(NAME, None, KeyPolicy()))
    attempt(administration)


def test_giving_away_a_seed_is_recorded(
    create: Callable[..., Key], administration: KeyAdministration, audit: Any
) -> None:
    create(transformed=True)
    name, seed = administration.transform_seed("spiffe://veilface/embedding", NAME)
    assert (name, len(seed)) == (FIRST, 32)
    assert [(event.operation, event.resource) for event in audit.events] == [("get-transform-seed", str(FIRST))]
