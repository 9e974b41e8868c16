"""Decisions: from ticketed, encrypted scores to "match" or "no match", and nothing else.

In this order, each step refusing what fails: tickets, key version, the key's policy, threshold, one-time nonce and
quotas, audit record. Only then is anything decrypted. Refusals are recorded as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veilface.common.attested import Circuit, SignedScores
from veilface.common.errors import InvalidArgumentError, PermissionDeniedError, Reason, VeilfaceError
from veilface.common.signing import TrustStore
from veilface.keys.domain.alternation import AlternationMonitor
from veilface.keys.domain.audit import AuditEntry, AuditLog, audited
from veilface.keys.domain.decrypters import DecrypterCache
from veilface.keys.domain.ledger import Charge, Ledger, OneTimeTicket, QuotaKind, pseudonym
from veilface.keys.domain.policy import LARGEST_TOP_K, KeyPolicy, Operation, Release
from veilface.keys.domain.ranking import Scores, best_matches, matches, most_alike
from veilface.keys.domain.thresholds import ResolvedThreshold, ThresholdTable
from veilface.keys.domain.tickets import AnswerAssembly, TicketedAnswer, TicketRules, assemble
from veilface.keys.domain.vault import Clock, UsableVersion, Vault

DEFAULT_TOP_K = 1


@dataclass(frozen=True, slots=True)
class VerificationDecision:
    """The answer to a 1:1 comparison.

    Attributes:
        threshold_profile: "{model}/{operating point}".
        band: The strictest operating point that the best score passes, if the key's policy releases bands; else empty.
    """

    is_match: bool
    threshold_profile: str
    band: str


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """A score that passes, by its position. Its rank is its place in a sequence of these, best first."""

    batch_index: int
    score_index: int
    band: str


@dataclass(frozen=True, slots=True)
class IdentificationDecision:
    """The answer to a 1:N search."""

    candidates: tuple[RankedCandidate, ...]
    threshold_profile: str
    score_count: int


@dataclass(frozen=True, slots=True)
class DecisionMeans:
    """What decisions are made with.

    Attributes:
        trust: The public keys of matchers.
        alternation: Watches for callers that feel their way along a threshold.
    """

    vault: Vault
    decrypters: DecrypterCache
    ledger: Ledger
    audit: AuditLog
    thresholds: ThresholdTable
    trust: TrustStore
    rules: TicketRules
    alternation: AlternationMonitor
    clock: Clock


class Decider:
    """Decides on answers of the matching service. Its methods block and belong on a worker pool."""

    def __init__(self, means: DecisionMeans) -> None:
        self._means = means

    def verify(self, caller: str, signed: Sequence[SignedScores], operating_point: str) -> VerificationDecision:
        """Decide a 1:1 comparison: a match if any score of the answer passes.

        Raises:
            PermissionDeniedError: UNTRUSTED_SIGNER, BAD_SIGNATURE or POLICY_DENIED.
            InvalidArgumentError: DIGEST_MISMATCH, WRONG_CIRCUIT, TICKET_INCOMPLETE, WRONG_PARAMETERS or
                UNKNOWN_OPERATING_POINT; MALFORMED_CIPHERTEXT and its kin for scores that cannot be decrypted.
            FailedPreconditionError: TICKET_EXPIRED, TICKET_REPLAYED, KEY_DISABLED, KEY_DESTROYED, KEY_VERSION_TOO_OLD
                or UNKNOWN_MODEL.
            NotFoundError: KEY_NOT_FOUND.
            ResourceExhaustedError: QUOTA_EXCEEDED.
            UnavailableError: MASTER_KEY_MISSING or DEPENDENCY_UNAVAILABLE.
            DataLossError: SEAL_BROKEN.
        """
        means = self._means
        with audited(means.audit, caller, Operation.VERIFY.value) as entry:
            answer = assemble(signed, means.trust, Circuit.VERIFY, means.rules, means.clock())
            usable = self._authorize(entry, answer, Operation.VERIFY)
            policy = usable.key.policy
            threshold = self._threshold(policy, answer, operating_point)
            target = _target(answer)
            charges = [_caller_charge(policy, caller)]
            if target:
                charges.append(Charge(QuotaKind.ANSWERS_PER_TARGET, target, policy.quotas.answers_per_target))
            self._spend(usable, answer, charges)
            entry.allow()
            scores = self._decrypt(usable, answer)
            is_match = bool(matches(scores, threshold.metric, threshold.value).any())
            if target:
                best = most_alike(scores, threshold.metric)
                means.alternation.observe(caller, target, answer.statement.probe_sha256, best, is_match)
            return VerificationDecision(is_match, threshold.profile, _band(policy, threshold, scores))

    def open_identification(self, caller: str) -> "Identification":
        """Begin to take in the batches of a 1:N search."""
        means = self._means
        return Identification(
            AuditEntry(means.audit, caller, Operation.IDENTIFY.value),
            AnswerAssembly(means.trust, Circuit.SEARCH, means.rules),
        )

    def add(self, identification: "Identification", signed: SignedScores) -> None:
        """Check one batch and keep it. Raises as the checks of tickets in `verify`."""
        try:
            identification.assembly.add(signed, self._means.clock())
        except VeilfaceError as error:
            identification.entry.fail(error.reason)
            raise

    def identify(self, identification: "Identification", top_k: int, operating_point: str) -> IdentificationDecision:
        """Decide a 1:N search.

        Args:
            top_k: How many candidates at most; 0 selects 1.

        Raises:
            InvalidArgumentError: INVALID_FIELD if `top_k` is not in 0..100.
            PermissionDeniedError: POLICY_DENIED if `top_k` is above the limit of the key.
            VeilfaceError: As `verify`.
        """
        means = self._means
        entry = identification.entry
        with audited(means.audit, entry.actor, entry.operation) as entry:
            answer = identification.assembly.complete()
            usable = self._authorize(entry, answer, Operation.IDENTIFY)
            policy = usable.key.policy
            top_k = _checked_top_k(policy, top_k)
            threshold = self._threshold(policy, answer, operating_point)
            self._spend(usable, answer, [_caller_charge(policy, entry.actor)])
            entry.allow()
            scores = self._decrypt(usable, answer)
            positions = best_matches(scores, threshold.metric, threshold.value, top_k)
            ends = np.cumsum([batch.statement.score_count for batch in answer.batches])
            candidates = []
            for position in positions:
                batch_index = int(np.searchsorted(ends, position, side="right"))
                score_index = int(position - (ends[batch_index - 1] if batch_index else 0))
                band = _band(policy, threshold, scores[position : position + 1])
                candidates.append(RankedCandidate(batch_index, score_index, band))
            self._charge_candidates(usable, answer, candidates)
            return IdentificationDecision(tuple(candidates), threshold.profile, answer.score_count)

    def _authorize(self, entry: AuditEntry, answer: TicketedAnswer, operation: Operation) -> UsableVersion:
        statement = answer.statement
        entry.resource = statement.key_version
        entry.gallery = statement.gallery
        entry.decision_count = answer.score_count
        usable = self._means.vault.resolve(answer.key_version)
        usable.key.policy.require_granted(operation, entry.actor)
        if (statement.scheme, statement.profile) != (usable.key.scheme, usable.key.profile):
            raise InvalidArgumentError(
                Reason.WRONG_PARAMETERS,
                f"the ticket is for {statement.scheme.value} {statement.profile}, the key is {usable.key.scheme.value} "
                f"{usable.key.profile}",
            )
        return usable

    def _threshold(self, policy: KeyPolicy, answer: TicketedAnswer, operating_point: str) -> ResolvedThreshold:
        statement = answer.statement
        return self._means.thresholds.resolve(
            statement.model, statement.space.metric, operating_point, policy.thresholds
        )

    def _spend(self, usable: UsableVersion, answer: TicketedAnswer, charges: Sequence[Charge]) -> None:
        ticket = OneTimeTicket(answer.signer, answer.statement.nonce, answer.expire_time)
        self._means.ledger.spend(usable.key.name, ticket, charges, self._means.clock().date())

    def _charge_candidates(
        self, usable: UsableVersion, answer: TicketedAnswer, candidates: Sequence[RankedCandidate]
    ) -> None:
        limit = usable.key.policy.quotas.matches_per_candidate
        gallery = answer.statement.gallery
        charges = [
            Charge(
                QuotaKind.MATCHES_PER_CANDIDATE,
                pseudonym("candidate", gallery, str(candidate.batch_index), str(candidate.score_index)),
                limit,
            )
            for candidate in candidates
        ]
        if charges and limit:
            self._means.ledger.spend(usable.key.name, None, charges, self._means.clock().date())

    def _decrypt(self, usable: UsableVersion, answer: TicketedAnswer) -> Scores:
        with self._means.decrypters.lease(usable) as decrypter:
            return np.concatenate(
                [
                    decrypter.decrypt(batch.ciphertext, batch.statement.space, batch.statement.score_count)
                    for batch in answer.batches
                ]
            )


@dataclass(frozen=True, slots=True)
class Identification:
    """A 1:N search whose batches are arriving."""

    entry: AuditEntry
    assembly: AnswerAssembly


def _checked_top_k(policy: KeyPolicy, top_k: int) -> int:
    if not 0 <= top_k <= LARGEST_TOP_K:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"top_k is 0 to {LARGEST_TOP_K}, not {top_k}")
    if top_k > policy.top_k_limit:
        raise PermissionDeniedError(
            Reason.POLICY_DENIED, f"the key's policy gives at most {policy.top_k_limit} candidates, not {top_k}"
        )
    return top_k or DEFAULT_TOP_K


def _caller_charge(policy: KeyPolicy, caller: str) -> Charge:
    return Charge(QuotaKind.ANSWERS_PER_CALLER, caller, policy.quotas.answers_per_caller)


def _target(answer: TicketedAnswer) -> str:
    """Who is asked about: a subject, a gallery, or the reference that the caller brought along."""
    statement = answer.statement
    target = statement.subject or statement.gallery or statement.reference_sha256.hex()
    return pseudonym("target", target) if target else ""


def _band(policy: KeyPolicy, threshold: ResolvedThreshold, scores: Scores) -> str:
    if policy.release is not Release.BANDED:
        return ""
    for operating_point, value in threshold.bands:
        if matches(scores, threshold.metric, value).any():
            return operating_point
    return ""
