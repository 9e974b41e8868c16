import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from veilface.common.attested import Circuit, SignedScores, sign_template
from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    UnavailableError,
    VeilfaceError,
)
from veilface.common.identities import EMBEDDING_IDENTITY, MATCHING_IDENTITY
from veilface.common.names import KeyName, KeyVersionName
from veilface.common.signing import Signer
from veilface.crypto.contract import Metric, Scheme, TemplateSpace, TemplateUse
from veilface.keys.domain.decide import Decider, DecisionMeans, IdentificationDecision
from veilface.keys.domain.policy import Grant, KeyPolicy, Operation, Quotas, Release, ThresholdOverride
from veilface.keys.domain.vault import Vault
from veilface.keys.domain.versions import Key

CALLER = "spiffe://veilface/client"


@pytest.fixture
def key(create: Callable[..., Key]) -> Key:
    return create()


def identify(
    decider: Decider, batches: list[SignedScores], top_k: int = 1, operating_point: str = ""
) -> IdentificationDecision:
    identification = decider.open_identification(CALLER)
    for batch in batches:
        decider.add(identification, batch)
    return decider.identify(identification, top_k, operating_point)


def positions(decision: IdentificationDecision) -> list[tuple[int, int]]:
    return [(candidate.batch_index, candidate.score_index) for candidate in decision.candidates]


@pytest.mark.parametrize(("score", "is_match"), [(0.94, True), (0.93, True), (0.92, False), (-0.5, False)])
def test_a_score_is_a_match_from_the_threshold_upward(
    key: Key, decider: Decider, matching: Any, score: float, is_match: bool
) -> None:
    decision = decider.verify(CALLER, matching.verification(score), "")
    assert decision.is_match is is_match
    assert decision.threshold_profile == "test/pipeline/balanced"
    assert decision.band == ""


@pytest.mark.parametrize(("operating_point", "is_match"), [("strict", False), ("balanced", True), ("lenient", True)])
def test_the_caller_chooses_the_operating_point(
    key: Key, decider: Decider, matching: Any, operating_point: str, is_match: bool
) -> None:
    assert decider.verify(CALLER, matching.verification(0.94), operating_point).is_match is is_match


def test_one_matching_reference_of_several_is_a_match(key: Key, decider: Decider, matching: Any) -> None:
    assert decider.verify(CALLER, matching.verification(0.1, 0.95, 0.2), "").is_match
    assert not decider.verify(CALLER, matching.verification(0.1, 0.85, 0.2), "").is_match


def test_a_distance_matches_downward(create: Callable[..., Key], decider: Decider, matching: Any) -> None:
    override = ThresholdOverride(model="m", metric=Metric.SQUARED_EUCLIDEAN, operating_point="balanced", threshold=0.36)
    create(policy=KeyPolicy(thresholds=(override,)))
    space = TemplateSpace(128, Metric.SQUARED_EUCLIDEAN)
    assert decider.verify(CALLER, matching.verification(0.3, model="m", space=space), "").is_match
    assert not decider.verify(CALLER, matching.verification(0.4, model="m", space=space), "").is_match


def test_candidates_are_ranked_positions_that_pass(key: Key, decider: Decider, matching: Any) -> None:
    decision = identify(decider, matching.search([0.1, 0.95, 0.2], [0.99, 0.94, 0.93], [0.0]), top_k=3)
    assert positions(decision) == [(1, 0), (0, 1), (1, 1)]
    assert decision.score_count == 7


def test_nobody_matches_when_no_score_passes(key: Key, decider: Decider, matching: Any) -> None:
    assert positions(identify(decider, matching.search([0.1, 0.2], [0.92]), top_k=5)) == []


def test_batches_may_come_in_any_order(key: Key, decider: Decider, matching: Any) -> None:
    batches = matching.search([0.1], [0.97, 0.2], [0.96])
    assert positions(identify(decider, [batches[2], batches[0], batches[1]], top_k=2)) == [(1, 0), (2, 0)]


def test_of_equal_scores_the_first_position_wins(key: Key, decider: Decider, matching: Any) -> None:
    assert positions(identify(decider, matching.search([0.95, 0.95], [0.95]), top_k=2)) == [(0, 0), (0, 1)]


def test_a_banded_key_tells_the_strictest_operating_point_passed(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    create(policy=KeyPolicy(release=Release.BANDED))
    bands = [decider.verify(CALLER, matching.verification(score), "").band for score in (0.99, 0.94, 0.92, 0.5)]
    assert bands == ["strict", "balanced", "lenient", ""]
    decision = identify(decider, matching.search([0.94, 0.99]), top_k=2)
    assert [candidate.band for candidate in decision.candidates] == ["strict", "balanced"]


def test_an_implausibly_large_score_matches_nobody(key: Key, decider: Decider, matching: Any) -> None:
    assert not decider.verify(CALLER, matching.verification(5.0), "").is_match


class Refusals:
    """Answers that must be refused, and why."""

    def __init__(self, matching: Any) -> None:
        self.matching = matching

    def unsigned(self) -> list[SignedScores]:
        (good,) = self.matching.verification(0.99)
        return [replace(good, signature=replace(good.signature, value=bytes(64)))]

    def other_ciphertext(self) -> list[SignedScores]:
        (good,) = self.matching.verification(0.1)
        return [replace(good, ciphertext=np.array([0.99]).tobytes())]

    def other_statement(self) -> list[SignedScores]:
        first, second = (self.matching.verification(score)[0] for score in (0.99, 0.1))
        return [replace(first, statement_bytes=second.statement_bytes, ciphertext=second.ciphertext)]

    def unknown_key_of_a_known_matcher(self) -> list[SignedScores]:
        return type(self.matching)(Signer.generate(MATCHING_IDENTITY), self.matching.clock).verification(0.99)

    def other_identity(self) -> list[SignedScores]:
        return type(self.matching)(Signer.generate("spiffe://veilface/client"), self.matching.clock).verification(0.99)

    def expired(self) -> list[SignedScores]:
        return self.matching.verification(0.99, expire_time=self.matching.clock.now - timedelta(seconds=1))

    def everlasting(self) -> list[SignedScores]:
        return self.matching.verification(0.99, expire_time=self.matching.clock.now + timedelta(days=1))

    def search_circuit(self) -> list[SignedScores]:
        return self.matching.search([0.99])

    def first_of_two(self) -> list[SignedScores]:
        return self.matching.verification(0.99, 0.1)[:1]

    def twice_the_same(self) -> list[SignedScores]:
        return self.matching.verification(0.99, 0.1)[:1] * 2

    def mixed_answers(self) -> list[SignedScores]:
        return [self.matching.verification(0.99, 0.1)[0], self.matching.verification(0.99, 0.1)[1]]

    def mixed_keys(self) -> list[SignedScores]:
        nonce, probe = secrets.token_bytes(16), secrets.token_bytes(32)
        first = self.matching.verification(0.9, 0.9, nonce=nonce, probe_sha256=probe)[0]
        other = "keys/office/versions/2"
        second = self.matching.verification(0.9, 0.9, nonce=nonce, probe_sha256=probe, key_version=other)[1]
        return [first, second]

    def nothing(self) -> list[SignedScores]:
        return []

    def other_key(self) -> list[SignedScores]:
        return self.matching.verification(0.99, key_version="keys/absent/versions/1")

    def other_version(self) -> list[SignedScores]:
        return self.matching.verification(0.99, key_version="keys/office/versions/2")

    def other_profile(self) -> list[SignedScores]:
        return self.matching.verification(0.99, profile="ckks-packed-192")

    def other_scheme(self) -> list[SignedScores]:
        return self.matching.verification(0.99, scheme=Scheme.CKKS_TENSEAL)

    def unknown_model(self) -> list[SignedScores]:
        return self.matching.verification(0.99, model="unknown")

    def template_in_place_of_scores(self) -> list[SignedScores]:
        ciphertext = np.array([0.99]).tobytes()
        embedding = Signer.generate(EMBEDDING_IDENTITY)
        from veilface.common.attested import TemplateStatement

        statement = TemplateStatement(
            key_version="keys/office/versions/1",
            scheme=Scheme.CKKS_PACKED,
            profile="ckks-packed-128",
            space=TemplateSpace(128),
            model="dlib-resnet/hog/chip",
            use=TemplateUse.REFERENCE,
            ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
            create_time=self.matching.clock.now,
        )
        template = sign_template(embedding, statement, ciphertext)
        return [SignedScores(template.statement_bytes, template.ciphertext, template.signature)]

    def template_with_a_real_ticket(self) -> list[SignedScores]:
        (good,) = self.matching.verification(0.1)
        (template,) = self.template_in_place_of_scores()
        return [replace(good, ciphertext=template.ciphertext)]


REFUSED = {
    "unsigned": (PermissionDeniedError, Reason.BAD_SIGNATURE),
    "other_ciphertext": (InvalidArgumentError, Reason.DIGEST_MISMATCH),
    "other_statement": (PermissionDeniedError, Reason.BAD_SIGNATURE),
    "unknown_key_of_a_known_matcher": (PermissionDeniedError, Reason.UNTRUSTED_SIGNER),
    "other_identity": (PermissionDeniedError, Reason.UNTRUSTED_SIGNER),
    "expired": (FailedPreconditionError, Reason.TICKET_EXPIRED),
    "everlasting": (FailedPreconditionError, Reason.TICKET_EXPIRED),
    "search_circuit": (InvalidArgumentError, Reason.WRONG_CIRCUIT),
    "first_of_two": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "twice_the_same": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "mixed_answers": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "mixed_keys": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "nothing": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "other_key": (NotFoundError, Reason.KEY_NOT_FOUND),
    "other_version": (NotFoundError, Reason.KEY_NOT_FOUND),
    "other_profile": (InvalidArgumentError, Reason.WRONG_PARAMETERS),
    "other_scheme": (InvalidArgumentError, Reason.WRONG_PARAMETERS),
    "unknown_model": (FailedPreconditionError, Reason.UNKNOWN_MODEL),
    "template_in_place_of_scores": (PermissionDeniedError, Reason.UNTRUSTED_SIGNER),
    "template_with_a_real_ticket": (InvalidArgumentError, Reason.DIGEST_MISMATCH),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_before_anything_is_decrypted(
    key: Key, decider: Decider, matching: Any, decrypter: Any, audit: Any, name: str
) -> None:
    error, reason = REFUSED[name]
    with pytest.raises(error) as caught:
        decider.verify(CALLER, getattr(Refusals(matching), name)(), "")
    assert caught.value.reason is reason
    assert decrypter.decryptions == 0
    assert [event.outcome for event in audit.events] == [reason.value]
    decider.verify(CALLER, matching.verification(0.99), "")
    assert decrypter.decryptions == 1


def test_a_replayed_answer_is_decided_once(key: Key, decider: Decider, matching: Any, decrypter: Any) -> None:
    answer = matching.verification(0.99)
    assert decider.verify(CALLER, answer, "").is_match
    for caller in (CALLER, "spiffe://veilface/operator"):
        with pytest.raises(FailedPreconditionError) as caught:
            decider.verify(caller, answer, "")
        assert caught.value.reason is Reason.TICKET_REPLAYED
    assert decrypter.decryptions == 1


def test_ten_thousand_forged_and_replayed_tickets_decrypt_nothing(
    key: Key, decider: Decider, matching: Any, decrypter: Any
) -> None:
    refusals = Refusals(matching)
    spent = matching.verification(0.99)
    decider.verify(CALLER, spent, "")
    decryptions_before = decrypter.decryptions
    for round_ in range(500):
        for name in REFUSED:
            with pytest.raises(VeilfaceError):
                decider.verify(CALLER, spent if round_ % 10 == 0 else getattr(refusals, name)(), "")
    assert decrypter.decryptions == decryptions_before == 1
    decider.verify(CALLER, matching.verification(0.99), "")
    assert decrypter.decryptions == 2


def test_the_circuit_of_a_verification_is_not_ranked(key: Key, decider: Decider, matching: Any) -> None:
    identification = decider.open_identification(CALLER)
    with pytest.raises(InvalidArgumentError) as caught:
        decider.add(identification, matching.verification(0.99)[0])
    assert caught.value.reason is Reason.WRONG_CIRCUIT


def test_a_search_with_a_missing_batch_is_refused(key: Key, decider: Decider, matching: Any, decrypter: Any) -> None:
    batches = matching.search([0.1], [0.99], [0.2])
    with pytest.raises(InvalidArgumentError) as caught:
        identify(decider, [batches[0], batches[2]])
    assert caught.value.reason is Reason.TICKET_INCOMPLETE
    assert decrypter.decryptions == 0


def test_an_answer_above_the_size_limit_is_refused(key: Key, means: DecisionMeans, matching: Any) -> None:
    decider = Decider(replace(means, rules=replace(means.rules, largest_answer_bytes=16)))
    with pytest.raises(ResourceExhaustedError):
        decider.verify(CALLER, matching.verification(0.1, 0.2, 0.3), "")
    decider.verify(CALLER, matching.verification(0.1, 0.2), "")


def test_a_version_disabled_a_moment_ago_decides_nothing(
    key: Key, decider: Decider, vault: Vault, matching: Any, decrypter: Any
) -> None:
    decider.verify(CALLER, matching.verification(0.99), "")
    vault.disable(KeyVersionName("office", 1))
    with pytest.raises(FailedPreconditionError) as caught:
        decider.verify(CALLER, matching.verification(0.99), "")
    assert caught.value.reason is Reason.KEY_DISABLED
    assert decrypter.decryptions == 1


def test_the_sweep_wipes_the_decrypter_of_a_disabled_version(
    key: Key, means: DecisionMeans, decider: Decider, vault: Vault, matching: Any, decrypter: Any
) -> None:
    decider.verify(CALLER, matching.verification(0.99), "")
    means.decrypters.drop_unusable()
    assert not decrypter.is_wiped
    vault.disable(KeyVersionName("office", 1))
    means.decrypters.drop_unusable()
    assert decrypter.is_wiped
    assert len(means.decrypters) == 0


def test_a_decrypter_in_use_is_wiped_when_its_user_is_done(key: Key, means: DecisionMeans, decrypter: Any) -> None:
    name = KeyVersionName("office", 1)
    with means.decrypters.lease(means.vault.resolve(name)):
        means.decrypters.drop(name)
        assert not decrypter.is_wiped
    assert decrypter.is_wiped


def test_only_granted_identities_may_decide(create: Callable[..., Key], decider: Decider, matching: Any) -> None:
    create(policy=KeyPolicy(grants=(Grant(operation=Operation.VERIFY, identities=("spiffe://veilface/door",)),)))
    with pytest.raises(PermissionDeniedError) as caught:
        decider.verify(CALLER, matching.verification(0.99), "")
    assert caught.value.reason is Reason.POLICY_DENIED
    assert decider.verify("spiffe://veilface/door", matching.verification(0.99), "").is_match


def test_more_candidates_than_the_policy_gives_are_refused(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    create(policy=KeyPolicy(top_k_limit=2))
    with pytest.raises(PermissionDeniedError):
        identify(decider, matching.search([0.99]), top_k=3)
    identify(decider, matching.search([0.99]), top_k=2)


@pytest.mark.parametrize("top_k", [-1, 101])
def test_a_senseless_top_k_is_refused(key: Key, decider: Decider, matching: Any, top_k: int) -> None:
    with pytest.raises(InvalidArgumentError):
        identify(decider, matching.search([0.99]), top_k=top_k)


def test_the_quota_of_a_caller_is_renewed_on_the_next_day(
    create: Callable[..., Key], decider: Decider, matching: Any, clock: Any, decrypter: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(answers_per_caller=2, answers_per_target=0)))
    for _ in range(2):
        decider.verify(CALLER, matching.verification(0.1), "")
    with pytest.raises(ResourceExhaustedError) as caught:
        decider.verify(CALLER, matching.verification(0.1), "")
    assert caught.value.reason is Reason.QUOTA_EXCEEDED
    assert decrypter.decryptions == 2
    decider.verify("spiffe://veilface/door", matching.verification(0.1), "")
    clock.advance(timedelta(days=1))
    decider.verify(CALLER, matching.verification(0.1), "")


def test_verifications_and_identifications_share_the_quota_of_a_caller(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(answers_per_caller=2)))
    decider.verify(CALLER, matching.verification(0.1), "")
    identify(decider, matching.search([0.1]))
    with pytest.raises(ResourceExhaustedError):
        identify(decider, matching.search([0.1]))


def test_the_quota_of_a_subject_counts_all_callers(create: Callable[..., Key], decider: Decider, matching: Any) -> None:
    create(policy=KeyPolicy(quotas=Quotas(answers_per_target=2)))
    decider.verify(CALLER, matching.verification(0.1), "")
    decider.verify("spiffe://veilface/door", matching.verification(0.1), "")
    with pytest.raises(ResourceExhaustedError):
        decider.verify("spiffe://veilface/gate", matching.verification(0.1), "")
    decider.verify(CALLER, matching.verification(0.1, subject="galleries/staff/subjects/bob"), "")


def test_the_quota_of_a_candidate_counts_matches_only(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(matches_per_candidate=2)))
    for _ in range(5):
        identify(decider, matching.search([0.1, 0.2]))
    for _ in range(2):
        identify(decider, matching.search([0.1, 0.99]))
    with pytest.raises(ResourceExhaustedError):
        identify(decider, matching.search([0.1, 0.99]))
    identify(decider, matching.search([0.99, 0.1]))


def test_a_refused_quota_does_not_spend_the_ticket(
    create: Callable[..., Key], decider: Decider, matching: Any, clock: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(answers_per_caller=1)))
    clock.now = clock.now.replace(hour=23, minute=59)
    decider.verify(CALLER, matching.verification(0.1), "")
    answer = matching.verification(0.99)
    with pytest.raises(ResourceExhaustedError):
        decider.verify(CALLER, answer, "")
    clock.advance(timedelta(minutes=2))
    assert decider.verify(CALLER, answer, "").is_match


def test_without_an_audit_record_nothing_is_decrypted(
    key: Key, means: DecisionMeans, matching: Any, decrypter: Any
) -> None:
    class BrokenAudit:
        def append(self, event: object) -> None:
            raise UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "the disk is full")

    decider = Decider(replace(means, audit=BrokenAudit()))  # type: ignore[arg-type]
    with pytest.raises(UnavailableError):
        decider.verify(CALLER, matching.verification(0.99), "")
    with pytest.raises(UnavailableError):
        identify(decider, matching.search([0.99]))
    assert decrypter.decryptions == 0


def test_the_audit_log_says_who_asked_what_about_which_key_and_how_much(
    key: Key, decider: Decider, matching: Any, audit: Any
) -> None:
    identify(decider, matching.search([0.1, 0.987654321], [0.3]))
    (event,) = audit.events
    assert (event.actor, event.operation, event.resource) == (CALLER, "identify", "keys/office/versions/1")
    assert (event.gallery, event.outcome, event.decision_count) == ("galleries/staff", "ALLOWED", 3)
    assert "0.98" not in repr(event)


def test_feeling_along_the_threshold_raises_the_alarm(
    create: Callable[..., Key], decider: Decider, matching: Any, alarms: list[str]
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(answers_per_target=0)))
    for step in range(20):
        decider.verify(CALLER, matching.verification(0.93 + (0.003 if step % 2 else -0.003)), "")
    assert set(alarms) == {CALLER}


def test_ordinary_answers_raise_no_alarm(
    create: Callable[..., Key], decider: Decider, matching: Any, alarms: list[str]
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(answers_per_target=0)))
    source = np.random.default_rng(5)
    for step in range(60):
        same_person = step % 2 == 0
        score = source.uniform(0.95, 0.99) if same_person else source.uniform(0.7, 0.9)
        decider.verify(CALLER, matching.verification(score), "")
    assert alarms == []


def test_the_model_of_the_ticket_chooses_the_threshold(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    override = ThresholdOverride(model="m", metric=Metric.COSINE, operating_point="balanced", threshold=0.4)
    create(policy=KeyPolicy(thresholds=(override,)))
    assert decider.verify(CALLER, matching.verification(0.5, model="m"), "").is_match
    assert not decider.verify(CALLER, matching.verification(0.5), "").is_match
    with pytest.raises(InvalidArgumentError) as caught:
        decider.verify(CALLER, matching.verification(0.5, model="m"), "strict")
    assert caught.value.reason is Reason.UNKNOWN_OPERATING_POINT


def test_a_rotated_key_still_decides_on_its_old_version(
    key: Key, decider: Decider, vault: Vault, matching: Any
) -> None:
    vault.rotate(KeyName("office"))
    assert decider.verify(CALLER, matching.verification(0.99), "").is_match
    assert decider.verify(CALLER, matching.verification(0.99, key_version="keys/office/versions/2"), "").is_match


def test_circuits_are_a_closed_set() -> None:
    assert set(Circuit) == {Circuit.VERIFY, Circuit.SEARCH}
