import hashlib
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from tests.unit.keys.conftest import score_ciphertext

from veilface.common.attested import Circuit, SignedScores, TemplateStatement, sign_template
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
from veilface.keys.domain.ciphertext_budget import CiphertextBudget
from veilface.keys.domain.decide import Decider, DecisionMeans, IdentificationDecision
from veilface.keys.domain.policy import UNLIMITED, Grant, KeyPolicy, Operation, Quotas, Release, ThresholdOverride
from veilface.keys.domain.vault import Vault
from veilface.keys.domain.versions import Key
from veilface.types.v1 import score_pb2

CALLER = "spiffe://veilface/client"
NO_QUOTAS = KeyPolicy(quotas=UNLIMITED)


@pytest.fixture
def key(create: Callable[..., Key]) -> Key:
    return create()


def identify(
    decider: Decider, batches: list[SignedScores], top_k: int = 1, operating_point: str = ""
) -> IdentificationDecision:
    with closing(decider.open_identification(CALLER)) as identification:
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
    """Answers that must be refused, and why.

    Args:
        circuit: What the tickets are to be for.
    """

    def __init__(self, matching: Any, circuit: Circuit = Circuit.VERIFY) -> None:
        self.matching = matching
        self.circuit = circuit

    def make(self, *scores: float, **changes: object) -> list[SignedScores]:
        """An answer with one batch for each score."""
        if self.circuit is Circuit.VERIFY:
            return self.matching.verification(*scores, **changes)  # type: ignore[no-any-return]
        return self.matching.search(*([score] for score in scores), **changes)  # type: ignore[no-any-return]

    def other_signer(self, identity: str) -> "Refusals":
        other = type(self.matching)(Signer.generate(identity), self.matching.clock)
        return Refusals(other, self.circuit)

    def unsigned(self) -> list[SignedScores]:
        (good,) = self.make(0.99)
        return [replace(good, signature=replace(good.signature, value=bytes(64)))]

    def other_ciphertext(self) -> list[SignedScores]:
        (good,) = self.make(0.1)
        return [replace(good, ciphertext=score_ciphertext([0.99]))]

    def other_statement(self) -> list[SignedScores]:
        first, second = (self.make(score)[0] for score in (0.99, 0.1))
        return [replace(first, statement_bytes=second.statement_bytes, ciphertext=second.ciphertext)]

    def unknown_key_of_a_known_matcher(self) -> list[SignedScores]:
        return self.other_signer(MATCHING_IDENTITY).make(0.99)

    def other_identity(self) -> list[SignedScores]:
        return self.other_signer(EMBEDDING_IDENTITY).make(0.99)

    def expired(self) -> list[SignedScores]:
        return self.make(0.99, expire_time=self.matching.clock.now - timedelta(seconds=1))

    def everlasting(self) -> list[SignedScores]:
        return self.make(0.99, expire_time=self.matching.clock.now + timedelta(days=1))

    def other_circuit(self) -> list[SignedScores]:
        other = Circuit.SEARCH if self.circuit is Circuit.VERIFY else Circuit.VERIFY
        return Refusals(self.matching, other).make(0.99)

    def first_of_two(self) -> list[SignedScores]:
        return self.make(0.99, 0.1)[:1]

    def twice_the_same(self) -> list[SignedScores]:
        return self.make(0.99, 0.1)[:1] * 2

    def mixed_answers(self) -> list[SignedScores]:
        return [self.make(0.99, 0.1)[0], self.make(0.99, 0.1)[1]]

    def mixed_keys(self) -> list[SignedScores]:
        nonce, probe = secrets.token_bytes(16), secrets.token_bytes(32)
        first = self.make(0.9, 0.9, nonce=nonce, probe_sha256=probe)[0]
        second = self.make(0.9, 0.9, nonce=nonce, probe_sha256=probe, key_version="keys/lobby/versions/1")[1]
        return [first, second]

    def mixed_versions(self) -> list[SignedScores]:
        nonce, probe = secrets.token_bytes(16), secrets.token_bytes(32)
        first = self.make(0.9, 0.9, nonce=nonce, probe_sha256=probe)[0]
        second = self.make(0.9, 0.9, nonce=nonce, probe_sha256=probe, key_version="keys/office/versions/2")[1]
        return [first, second]

    def presented_for_another_key(self) -> list[SignedScores]:
        return self._renamed("keys/lobby/versions/1")

    def presented_for_another_version(self) -> list[SignedScores]:
        return self._renamed("keys/office/versions/2")

    def ticket_for_another_keys_scores(self) -> list[SignedScores]:
        (good,) = self.make(0.99)
        (other,) = self.make(0.98, key_version="keys/lobby/versions/1")
        return [replace(good, ciphertext=other.ciphertext)]

    def absent_key(self) -> list[SignedScores]:
        return self.make(0.99, key_version="keys/absent/versions/1")

    def absent_version(self) -> list[SignedScores]:
        return self.make(0.99, key_version="keys/office/versions/3")

    def other_profile(self) -> list[SignedScores]:
        return self.make(0.99, profile="ckks-packed-192")

    def other_scheme(self) -> list[SignedScores]:
        return self.make(0.99, scheme=Scheme.CKKS_TENSEAL)

    def unknown_model(self) -> list[SignedScores]:
        return self.make(0.99, model="unknown")

    def template_in_place_of_scores(self) -> list[SignedScores]:
        ciphertext = score_ciphertext([0.99])
        embedding = Signer.generate(EMBEDDING_IDENTITY)
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
        (good,) = self.make(0.1)
        (template,) = self.template_in_place_of_scores()
        return [replace(good, ciphertext=template.ciphertext)]

    def _renamed(self, key_version: str) -> list[SignedScores]:
        (good,) = self.make(0.99)
        message = score_pb2.ScoreStatement.FromString(good.statement_bytes)
        message.key_version = key_version
        return [replace(good, statement_bytes=message.SerializeToString())]


REFUSED = {
    "unsigned": (PermissionDeniedError, Reason.BAD_SIGNATURE),
    "other_ciphertext": (InvalidArgumentError, Reason.DIGEST_MISMATCH),
    "other_statement": (PermissionDeniedError, Reason.BAD_SIGNATURE),
    "unknown_key_of_a_known_matcher": (PermissionDeniedError, Reason.UNTRUSTED_SIGNER),
    "other_identity": (PermissionDeniedError, Reason.UNTRUSTED_SIGNER),
    "expired": (FailedPreconditionError, Reason.TICKET_EXPIRED),
    "everlasting": (FailedPreconditionError, Reason.TICKET_EXPIRED),
    "other_circuit": (InvalidArgumentError, Reason.WRONG_CIRCUIT),
    "first_of_two": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "twice_the_same": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "mixed_answers": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "mixed_keys": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "mixed_versions": (InvalidArgumentError, Reason.TICKET_INCOMPLETE),
    "presented_for_another_key": (PermissionDeniedError, Reason.BAD_SIGNATURE),
    "presented_for_another_version": (PermissionDeniedError, Reason.BAD_SIGNATURE),
    "ticket_for_another_keys_scores": (InvalidArgumentError, Reason.DIGEST_MISMATCH),
    "absent_key": (NotFoundError, Reason.KEY_NOT_FOUND),
    "absent_version": (NotFoundError, Reason.KEY_NOT_FOUND),
    "other_profile": (InvalidArgumentError, Reason.WRONG_PARAMETERS),
    "other_scheme": (InvalidArgumentError, Reason.WRONG_PARAMETERS),
    "unknown_model": (FailedPreconditionError, Reason.UNKNOWN_MODEL),
    "template_in_place_of_scores": (PermissionDeniedError, Reason.UNTRUSTED_SIGNER),
    "template_with_a_real_ticket": (InvalidArgumentError, Reason.DIGEST_MISMATCH),
}


@pytest.fixture
def two_keys(create: Callable[..., Key], vault: Vault) -> None:
    """The keys "office" and "lobby", both with two versions that can be used, and no quota in the way."""
    for key_id in ("office", "lobby"):
        create(key_id, NO_QUOTAS)
        vault.rotate(KeyName(key_id))


def present(decider: Decider, circuit: Circuit, answer: list[SignedScores]) -> None:
    """Have an answer decided in the way of its circuit."""
    if circuit is Circuit.VERIFY:
        decider.verify(CALLER, answer, "")
    else:
        identify(decider, answer)


@pytest.mark.parametrize("circuit", Circuit)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_before_anything_is_decrypted(
    two_keys: None, decider: Decider, matching: Any, decrypter: Any, audit: Any, name: str, circuit: Circuit
) -> None:
    error, reason = REFUSED[name]
    refusals = Refusals(matching, circuit)
    with pytest.raises(error) as caught:
        present(decider, circuit, getattr(refusals, name)())
    assert caught.value.reason is reason
    assert decrypter.decryptions == 0
    assert [event.outcome for event in audit.events] == [reason.value]
    present(decider, circuit, refusals.make(0.99))
    assert decrypter.decryptions == 1


def test_no_scores_at_all_are_refused(key: Key, decider: Decider) -> None:
    for circuit in Circuit:
        with pytest.raises(InvalidArgumentError) as caught:
            present(decider, circuit, [])
        assert caught.value.reason is Reason.TICKET_INCOMPLETE


def test_a_replayed_answer_is_decided_once(key: Key, decider: Decider, matching: Any, decrypter: Any) -> None:
    answer = matching.verification(0.99)
    assert decider.verify(CALLER, answer, "").is_match
    for caller in (CALLER, "spiffe://veilface/operator"):
        with pytest.raises(FailedPreconditionError) as caught:
            decider.verify(caller, answer, "")
        assert caught.value.reason is Reason.TICKET_REPLAYED
    assert decrypter.decryptions == 1


def test_ten_thousand_forged_replayed_and_cross_key_tickets_decrypt_nothing(
    two_keys: None, decider: Decider, matching: Any, decrypter: Any
) -> None:
    presented = 0
    for circuit in Circuit:
        refusals = Refusals(matching, circuit)
        spent = [refusals.make(0.99, key_version=f"keys/{key_id}/versions/1") for key_id in ("office", "lobby")]
        for answer in spent:
            present(decider, circuit, answer)
        makers = [getattr(refusals, name) for name in REFUSED]
        for number in range(5000):
            answer = spent[number % 2] if number % 5 == 0 else makers[number % len(makers)]()
            assert answer
            with pytest.raises(VeilfaceError):
                present(decider, circuit, answer)
            presented += 1
    assert presented == 10_000
    assert decrypter.decryptions == 4
    for number, circuit in enumerate(Circuit):
        present(decider, circuit, Refusals(matching, circuit).make(0.99))
        assert decrypter.decryptions == 5 + number


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
    decider = Decider(replace(means, rules=replace(means.rules, largest_answer_bytes=32)))
    with pytest.raises(ResourceExhaustedError):
        decider.verify(CALLER, matching.verification(0.1, 0.2, 0.3), "")
    decider.verify(CALLER, matching.verification(0.1, 0.2), "")


def test_searches_that_are_being_sent_share_a_budget_and_give_it_back(
    key: Key, means: DecisionMeans, matching: Any
) -> None:
    decider = Decider(replace(means, budget=CiphertextBudget(40)))
    waiting = decider.open_identification(CALLER)
    first, second = matching.search([0.1], [0.99])
    decider.add(waiting, first)
    decider.add(waiting, second)
    other = matching.search([0.99])
    with pytest.raises(ResourceExhaustedError) as caught:
        identify(decider, other)
    assert caught.value.reason is Reason.OVERLOADED
    assert positions(decider.identify(waiting, 1, "")) == [(1, 0)]
    waiting.close()
    waiting.close()
    assert positions(identify(decider, other)) == [(0, 0)]


def test_nothing_is_held_for_a_search_that_was_given_up(key: Key, means: DecisionMeans, matching: Any) -> None:
    budget = CiphertextBudget(100)
    decider = Decider(replace(means, budget=budget))
    given_up = decider.open_identification(CALLER)
    first, second = matching.search([0.1], [0.99])
    decider.add(given_up, first)
    assert budget.held_bytes == 16
    given_up.close()
    with pytest.raises(InvalidArgumentError):
        decider.add(given_up, second)
    assert budget.held_bytes == 0


def test_an_answer_that_expires_while_it_arrives_is_refused_and_stays_spent(
    key: Key, means: DecisionMeans, matching: Any, clock: Any, decrypter: Any
) -> None:
    decider = Decider(means)
    batches = matching.search([0.1], [0.99])
    in_time, late = (decider.open_identification(CALLER) for _ in range(2))
    for identification in (in_time, late):
        for batch in batches:
            decider.add(identification, batch)
    assert positions(decider.identify(in_time, 1, "")) == [(1, 0)]
    clock.advance(timedelta(hours=3))
    means.ledger.forget(clock() - timedelta(hours=1), clock().date() - timedelta(days=2))
    with pytest.raises(FailedPreconditionError) as caught:
        decider.identify(late, 1, "lenient")
    assert caught.value.reason is Reason.TICKET_EXPIRED
    assert decrypter.decryptions == 2


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


def test_the_quota_of_a_reference_counts_all_callers(
    create: Callable[..., Key], decider: Decider, matching: Any, decrypter: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(answers_per_target=2)))
    decider.verify(CALLER, matching.verification(0.1), "")
    decider.verify("spiffe://veilface/door", matching.verification(0.1), "")
    for score in (0.1, 0.99):
        with pytest.raises(ResourceExhaustedError):
            decider.verify("spiffe://veilface/gate", matching.verification(score), "")
    assert decrypter.decryptions == 2
    decider.verify(CALLER, matching.verification(0.1, reference_sha256=bytes(32)), "")


def test_a_reference_has_one_quota_under_every_name_and_in_direct_comparisons(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(answers_per_target=3)))
    decider.verify(CALLER, matching.verification(0.1), "")
    elsewhere = {"gallery": "galleries/guests", "subject": "galleries/guests/subjects/eve"}
    decider.verify(CALLER, matching.verification(0.1, **elsewhere), "")
    directly = {"gallery": "", "subject": "", "generation": 0}
    decider.verify(CALLER, matching.verification(0.1, **directly), "")
    for names in ({}, elsewhere, directly):
        with pytest.raises(ResourceExhaustedError):
            decider.verify(CALLER, matching.verification(0.1, **names), "")


def test_a_subject_is_refused_as_soon_as_one_of_its_references_is_used_up(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(answers_per_target=1)))
    decider.verify(CALLER, matching.verification(0.1), "")
    with pytest.raises(ResourceExhaustedError):
        decider.verify(CALLER, matching.verification(0.1, 0.1), "")


def test_the_quota_of_a_candidate_counts_matches_only(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(matches_per_candidate=2)))
    for _ in range(5):
        assert identify(decider, matching.search([0.1, 0.2])).withheld_candidates == 0
    for _ in range(2):
        decision = identify(decider, matching.search([0.1, 0.99]))
        assert (positions(decision), decision.withheld_candidates) == ([(0, 1)], 0)
    decision = identify(decider, matching.search([0.99, 0.99]))
    assert (positions(decision), decision.withheld_candidates) == ([(0, 0)], 1)


def test_an_answer_does_not_depend_on_the_scores_of_candidates_that_are_used_up(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(matches_per_candidate=1)))
    identify(decider, matching.search([0.1, 0.99], slots=[4, 5]))
    answers = [
        identify(decider, matching.search([score, *others], slots=[5, 8, 9]), top_k=top_k)
        for score in (-1.0, 0.5, 0.929, 0.931, 0.97, 1.0)
        for others, top_k in (([0.2, 0.3], 1), ([0.2, 0.3], 5))
    ]
    assert {(each.candidates, each.withheld_candidates) for each in answers} == {((), 1)}
    # Somebody less alike is named just as if the used up one had not been there.
    for slot, score in enumerate((0.1, 0.999), start=100):
        assert positions(identify(decider, matching.search([score, 0.95], slots=[5, slot]))) == [(0, 1)]


def test_a_candidate_is_counted_by_its_slot_wherever_it_is_in_the_answer(
    create: Callable[..., Key], decider: Decider, matching: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(matches_per_candidate=1)))
    identify(decider, matching.search([0.1], [0.1, 0.2, 0.99], slots=None))
    # Those before it were erased, and an empty segment is left out: slot 2 of segment 1 is now the first of all.
    decision = identify(decider, matching.search([0.99, 0.95], slots=[2, 3], segment=1))
    assert (positions(decision), decision.withheld_candidates) == ([(0, 1)], 1)


@pytest.mark.parametrize("changed", [{"gallery_uid": 8}, {"gallery": "galleries/guests"}, {"segment": 1}])
def test_galleries_and_segments_are_counted_apart(
    create: Callable[..., Key], decider: Decider, matching: Any, changed: dict[str, object]
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(matches_per_candidate=1)))
    identify(decider, matching.search([0.99]))
    assert identify(decider, matching.search([0.99])).candidates == ()
    assert positions(identify(decider, matching.search([0.99], **changed))) == [(0, 0)]


def test_a_candidate_that_another_answer_uses_up_meanwhile_is_left_out_as_if_it_did_not_match(
    create: Callable[..., Key], means: DecisionMeans, matching: Any
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(matches_per_candidate=1)))

    class Overtaken:
        """A ledger that another replica writes to between reading and counting."""

        def __getattr__(self, name: str) -> Any:
            return getattr(means.ledger, name)

        def used_up(self, *arguments: Any) -> frozenset[str]:
            found = means.ledger.used_up(*arguments)
            identify(Decider(means), matching.search([0.99, 0.2]))
            return found

    overtaken = Decider(replace(means, ledger=Overtaken()))  # type: ignore[arg-type]
    decision = identify(overtaken, matching.search([0.99, 0.95]))
    assert (positions(decision), decision.withheld_candidates) == ([(0, 1)], 0)


def test_a_search_without_used_up_candidates_is_recorded_as_such(
    create: Callable[..., Key], decider: Decider, matching: Any, audit: Any, withheld: list[bool]
) -> None:
    create(policy=KeyPolicy(quotas=Quotas(matches_per_candidate=1)))
    for score in (0.99, 0.99, 0.1):
        identify(decider, matching.search([score]))
    assert [event.outcome for event in audit.events] == ["ALLOWED", "ALLOWED_IN_PART", "ALLOWED_IN_PART"]
    assert withheld == [True, True]


def test_a_banded_key_answers_half_as_often(create: Callable[..., Key], decider: Decider, matching: Any) -> None:
    quotas = Quotas(answers_per_target=4, matches_per_candidate=3)
    create(policy=KeyPolicy(quotas=quotas, release=Release.BANDED))
    for _ in range(2):
        decider.verify(CALLER, matching.verification(0.1), "")
        assert identify(decider, matching.search([0.99])).candidates
    with pytest.raises(ResourceExhaustedError):
        decider.verify(CALLER, matching.verification(0.1), "")
    assert identify(decider, matching.search([0.99])).withheld_candidates == 1


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


@pytest.mark.parametrize("between", [0, 1, 2])
def test_other_probes_in_between_hide_no_feeling_along_the_threshold(
    create: Callable[..., Key], decider: Decider, matching: Any, alarms: list[str], between: int
) -> None:
    create(policy=NO_QUOTAS)
    for step in range(12):
        decider.verify(CALLER, matching.verification(0.93 + (0.003 if step % 2 else -0.003)), "")
        for _ in range(between if step < 10 else 0):
            decider.verify(CALLER, matching.verification(0.2), "")
    assert alarms == [CALLER]


def test_feeling_along_the_threshold_by_searching_raises_the_alarm(
    create: Callable[..., Key], decider: Decider, matching: Any, alarms: list[str]
) -> None:
    create(policy=NO_QUOTAS)
    for step in range(12):
        identify(decider, matching.search([0.1], [0.2, 0.93 + (0.003 if step % 2 else -0.003)]))
    assert alarms == [CALLER]


def test_searches_that_find_different_people_raise_no_alarm(
    create: Callable[..., Key], decider: Decider, matching: Any, alarms: list[str]
) -> None:
    create(policy=NO_QUOTAS)
    for step in range(60):
        scores = np.full(60, 0.2)
        scores[step] = 0.93 + (0.003 if step % 2 else -0.003)
        identify(decider, matching.search(scores))
    assert alarms == []


def test_one_odd_answer_among_many_raises_no_alarm(
    create: Callable[..., Key], decider: Decider, matching: Any, alarms: list[str]
) -> None:
    create(policy=NO_QUOTAS)
    for step in range(30):
        decider.verify(CALLER, matching.verification(0.929 if step == 10 else 0.935), "")
    assert alarms == []


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
