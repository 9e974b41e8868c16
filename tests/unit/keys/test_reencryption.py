import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from veilface.common.attested import SignedTemplate, TemplateStatement, sign_template, verify_template
from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
)
from veilface.common.identities import EMBEDDING_IDENTITY, KEYS_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY
from veilface.common.names import KeyName
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import Scheme, TemplateSpace, TemplateUse
from veilface.keys.domain.implausibility import ImplausibilityAlarm
from veilface.keys.domain.policy import Grant, KeyPolicy, Operation, Quotas
from veilface.keys.domain.reencryption import ReencryptionKeys, ReencryptionMeans, SegmentContent, open_reencryption
from veilface.keys.domain.vault import Vault
from veilface.keys.domain.versions import Key

NAME = KeyName("office")
OLD, NEW = NAME.version(1), NAME.version(2)
SPACE = TemplateSpace(128)


@dataclass
class MarkingReencrypter:
    """Marks what it moves, and remembers what it was given."""

    secret: bytes
    target: bytes
    seeds: tuple[bytes, bytes] | None
    moved: int = 0
    replaced_count: int = 0
    is_wiped: bool = False

    def reencrypt_template(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> bytes:
        self.moved += 1
        return b"moved " + ciphertext

    def reencrypt_segment(self, segment: bytes, space: TemplateSpace, slots: NDArray[np.intp]) -> bytes:
        self.moved += len(slots)
        return b"moved " + segment + bytes(slots.tolist())

    def wipe(self) -> None:
        self.is_wiped = True


@dataclass
class Loaded:
    reencrypters: list[MarkingReencrypter] = field(default_factory=list)

    def load(self, keys: ReencryptionKeys) -> MarkingReencrypter:
        seeds = None if keys.seeds is None else (bytes(keys.seeds[0]), bytes(keys.seeds[1]))
        self.reencrypters.append(MarkingReencrypter(bytes(keys.secret_key), keys.target.public_key, seeds))
        return self.reencrypters[-1]


@pytest.fixture
def embedding() -> Signer:
    return Signer.generate(EMBEDDING_IDENTITY)


@pytest.fixture
def own_signer() -> Signer:
    return Signer.generate(KEYS_IDENTITY)


@pytest.fixture
def loaded() -> Loaded:
    return Loaded()


@pytest.fixture
def sounded() -> list[str]:
    return []


@pytest.fixture
def moving(means: Any, loaded: Loaded, embedding: Signer, own_signer: Signer, sounded: list[str]) -> ReencryptionMeans:
    trusted = {each.identity: [each.public_key_bytes] for each in (embedding, own_signer)}
    return ReencryptionMeans(
        vault=means.vault,
        ledger=means.ledger,
        audit=means.audit,
        load=loaded.load,
        alarm=ImplausibilityAlarm(lambda: sounded.append("alarm")),
        signer=own_signer,
        trust=TrustStore(trusted),
        clock=means.clock,
    )


@pytest.fixture
def rotated(create: Callable[..., Key], vault: Vault) -> Key:
    create()
    return vault.rotate(NAME)


@pytest.fixture
def template(embedding: Signer, clock: Any) -> Callable[..., SignedTemplate]:
    def make(signer: Signer | None = None, **changes: Any) -> SignedTemplate:
        ciphertext = b"a ciphertext"
        fields: dict[str, Any] = {
            "key_version": str(OLD),
            "scheme": Scheme.CKKS_PACKED,
            "profile": "ckks-packed-128",
            "space": SPACE,
            "model": "dlib-resnet/hog/chip",
            "use": TemplateUse.REFERENCE,
            "ciphertext_sha256": hashlib.sha256(ciphertext).digest(),
            "create_time": clock.now,
        }
        return sign_template(signer or embedding, TemplateStatement(**{**fields, **changes}), ciphertext)

    return make


def test_a_moved_template_is_vouched_for_under_the_new_version(
    rotated: Key, moving: ReencryptionMeans, template: Callable[..., SignedTemplate]
) -> None:
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
        moved = reencryption.move_template(template())
    assert moved.ciphertext == b"moved a ciphertext"
    statement = verify_template(moving.trust, moved, (KEYS_IDENTITY,))
    assert (statement.key_version, statement.model, statement.space) == (str(NEW), "dlib-resnet/hog/chip", SPACE)


def test_a_moved_template_can_be_moved_again(
    rotated: Key, moving: ReencryptionMeans, vault: Vault, template: Callable[..., SignedTemplate]
) -> None:
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
        moved = reencryption.move_template(template())
    vault.rotate(NAME)
    with open_reencryption(moving, MATCHING_IDENTITY, NEW, NAME.version(3)) as reencryption:
        assert reencryption.move_template(moved).ciphertext == b"moved moved a ciphertext"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key_version": str(NEW)}, Reason.WRONG_KEY_VERSION),
        ({"key_version": "keys/lobby/versions/1"}, Reason.WRONG_KEY_VERSION),
        ({"profile": "ckks-packed-192"}, Reason.WRONG_PARAMETERS),
        ({"use": TemplateUse.PROBE}, Reason.WRONG_USE),
    ],
)
def test_a_template_that_does_not_belong_here_is_not_decrypted(
    rotated: Key,
    moving: ReencryptionMeans,
    loaded: Loaded,
    template: Callable[..., SignedTemplate],
    changes: dict[str, Any],
    reason: Reason,
) -> None:
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
        with pytest.raises(InvalidArgumentError) as caught:
            reencryption.move_template(template(**changes))
        assert caught.value.reason is reason
        assert loaded.reencrypters[0].moved == 0
        reencryption.move_template(template())
        assert loaded.reencrypters[0].moved == 1


def test_a_template_that_nobody_vouches_for_is_not_decrypted(
    rotated: Key, moving: ReencryptionMeans, loaded: Loaded, template: Callable[..., SignedTemplate], audit: Any
) -> None:
    forged = [
        template(Signer.generate(EMBEDDING_IDENTITY)),
        template(Signer.generate(MATCHING_IDENTITY)),
        replace(template(), ciphertext=b"another"),
        replace(template(), signature=replace(template().signature, value=bytes(64))),
    ]
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
        for signed in forged:
            with pytest.raises((PermissionDeniedError, InvalidArgumentError)):
                reencryption.move_template(signed)
        assert loaded.reencrypters[0].moved == 0
        reencryption.move_template(template())
    refusals = [event.outcome for event in audit.events if event.outcome not in ("ALLOWED", "COMPLETED")]
    assert refusals == ["UNTRUSTED_SIGNER", "UNTRUSTED_SIGNER", "BAD_SIGNATURE"]


def test_only_the_matching_service_may_have_segments_moved(
    rotated: Key, moving: ReencryptionMeans, loaded: Loaded
) -> None:
    content = SegmentContent(SPACE, np.array([0, 2, 5]))
    with open_reencryption(moving, OPERATOR_IDENTITY, OLD, NEW) as reencryption:
        with pytest.raises(PermissionDeniedError):
            reencryption.move_segment(b"segment", content)
        assert loaded.reencrypters[0].moved == 0
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
        assert reencryption.move_segment(b"segment", content) == b"moved segment\x00\x02\x05"


@pytest.mark.parametrize(("source", "target"), [(NEW, OLD), (OLD, KeyName("lobby").version(2))])
def test_templates_move_forward_within_one_key(
    rotated: Key, moving: ReencryptionMeans, source: Any, target: Any
) -> None:
    with pytest.raises(InvalidArgumentError), open_reencryption(moving, MATCHING_IDENTITY, source, target):
        pass


def test_templates_move_to_the_primary_version_only(rotated: Key, moving: ReencryptionMeans, vault: Vault) -> None:
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW):
        pass
    vault.rotate(NAME)
    with (
        pytest.raises(FailedPreconditionError, match="versions/3, not keys/office/versions/2") as caught,
        open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW),
    ):
        pass
    assert caught.value.reason is Reason.WRONG_KEY_VERSION


def test_within_the_primary_version_segments_are_compacted_and_templates_stay(
    rotated: Key, moving: ReencryptionMeans, loaded: Loaded, template: Callable[..., SignedTemplate]
) -> None:
    with open_reencryption(moving, MATCHING_IDENTITY, NEW, NEW) as reencryption:
        assert reencryption.move_segment(b"segment", SegmentContent(SPACE, np.array([1]))) == b"moved segment\x01"
        with pytest.raises(InvalidArgumentError) as caught:
            reencryption.move_template(template(key_version=str(NEW)))
    assert caught.value.reason is Reason.WRONG_KEY_VERSION
    assert loaded.reencrypters[0].moved == 1
    with (
        pytest.raises(FailedPreconditionError, match="move to the primary version"),
        open_reencryption(moving, MATCHING_IDENTITY, OLD, OLD),
    ):
        pass


def test_the_alarm_about_implausible_templates_sounds_once_and_no_record_tells(
    rotated: Key, moving: ReencryptionMeans, loaded: Loaded, sounded: list[str], audit: Any
) -> None:
    content = SegmentContent(SPACE, np.arange(4))
    for replaced in (0, 3, 1):
        with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
            reencryption.move_segment(b"segment", content)
            assert sounded == ([] if replaced != 1 else ["alarm"])
            loaded.reencrypters[-1].replaced_count = replaced
    assert sounded == ["alarm"]
    assert [(event.outcome, event.decision_count) for event in audit.events] == [("ALLOWED", 0), ("COMPLETED", 4)] * 3


def test_a_disabled_source_stops_a_running_move(
    rotated: Key, moving: ReencryptionMeans, vault: Vault, template: Callable[..., SignedTemplate]
) -> None:
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
        reencryption.move_template(template())
        vault.disable(OLD)
        with pytest.raises(FailedPreconditionError) as caught:
            reencryption.move_template(template())
    assert caught.value.reason is Reason.KEY_DISABLED


def test_the_secrets_are_wiped_at_the_end_even_after_an_error(
    rotated: Key, moving: ReencryptionMeans, loaded: Loaded, template: Callable[..., SignedTemplate]
) -> None:
    with pytest.raises(InvalidArgumentError), open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
        reencryption.move_template(template(use=TemplateUse.PROBE))
    assert loaded.reencrypters[0].is_wiped


def test_the_scheme_gets_the_old_secret_the_new_public_key_and_both_seeds(
    create: Callable[..., Key], vault: Vault, moving: ReencryptionMeans, loaded: Loaded, generated: list[Any]
) -> None:
    create(transformed=True)
    vault.rotate(NAME)
    expected = []
    for version in (OLD, NEW):
        with vault.open_transform_seed(vault.resolve(version)) as seed, seed.exposed() as view:
            expected.append(bytes(view))
    with vault.open_secret_key(vault.resolve(OLD)) as secret_key, secret_key.exposed() as view:
        secret = bytes(view)
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW):
        pass
    (given,) = loaded.reencrypters
    assert (given.secret, given.target, given.seeds) == (secret, generated[1].public_key, tuple(expected))


def test_without_a_signing_key_nothing_is_moved(rotated: Key, moving: ReencryptionMeans) -> None:
    unsigned = replace(moving, signer=None)
    with (
        pytest.raises(FailedPreconditionError, match="SIGNING_KEY"),
        open_reencryption(unsigned, MATCHING_IDENTITY, OLD, NEW),
    ):
        pass


def test_the_policy_of_the_key_says_who_may_move_and_how_much(
    create: Callable[..., Key], vault: Vault, moving: ReencryptionMeans, template: Callable[..., SignedTemplate]
) -> None:
    grant = Grant(operation=Operation.REENCRYPT, identities=(MATCHING_IDENTITY,))
    create(policy=KeyPolicy(grants=(grant,), quotas=Quotas(reencryptions_per_caller=3)))
    vault.rotate(NAME)
    with pytest.raises(PermissionDeniedError), open_reencryption(moving, OPERATOR_IDENTITY, OLD, NEW):
        pass
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
        reencryption.move_template(template())
        with pytest.raises(ResourceExhaustedError):
            reencryption.move_segment(b"segment", SegmentContent(SPACE, np.arange(3)))
        reencryption.move_segment(b"segment", SegmentContent(SPACE, np.arange(2)))


def test_the_audit_log_says_how_many_templates_were_moved(
    rotated: Key, moving: ReencryptionMeans, audit: Any, template: Callable[..., SignedTemplate]
) -> None:
    with open_reencryption(moving, MATCHING_IDENTITY, OLD, NEW) as reencryption:
        reencryption.move_template(template())
        reencryption.move_segment(b"segment", SegmentContent(SPACE, np.arange(40)))
    assert [(event.operation, event.outcome, event.decision_count) for event in audit.events] == [
        ("reencrypt", "ALLOWED", 0),
        ("reencrypt", "COMPLETED", 41),
    ]
    assert audit.events[0].resource == "keys/office/versions/1 to keys/office/versions/2"
