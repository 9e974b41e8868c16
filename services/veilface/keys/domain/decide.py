"""Decisions: from ticketed, encrypted scores to "match" or "no match", and nothing else.

In this order, each step refusing what fails: tickets, key version, the key's policy, threshold, one-time nonce and
quotas, audit record. Only then is anything decrypted. Refusals are recorded as well.

No refusal depends on a score: it would be an answer. Candidates of a search that were named often enough are left out
of it whatever their scores are, and the caller is told how many those are, not whether they would have matched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from veilface.common.attested import Circuit, SignedScores
from veilface.common.errors import InvalidArgumentError, PermissionDeniedError, Reason, VeilfaceError
from veilface.common.signing import TrustStore
from veilface.crypto.contract import ScoreDecrypter
from veilface.keys.domain.alternation import AlternationMonitor
from veilface.keys.domain.audit import ALLOWED, ALLOWED_IN_PART, AuditEntry, AuditLog, audited
from veilface.keys.domain.ciphertext_budget import CiphertextBudget
from veilface.keys.domain.decrypters import DecrypterCache
from veilface.keys.domain.ledger import Charge, ChargeGroup, Ledger, OneTimeTicket, QuotaKind, pseudonym
from veilface.keys.domain.policy import LARGEST_TOP_K, KeyPolicy, Operation, Release
from veilface.keys.domain.ranking import Scores, best_matches, matches, most_alike
from veilface.keys.domain.score_places import ScorePlaces, gallery_prefix
from veilface.keys.domain.thresholds import ResolvedThreshold, ThresholdTable
from veilface.keys.domain.tickets import AnswerAssembly, TicketedAnswer, TicketedBatch, TicketRules, assemble
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
    """The answer to a 1:N search.

    Attributes:
        withheld_candidates: How many of those searched were left out because they had been named as often as a day
            allows. It depends on earlier answers only.
    """

    candidates: tuple[RankedCandidate, ...]
    threshold_profile: str
    score_count: int
    withheld_candidates: int


@dataclass(frozen=True, slots=True)
class DecisionMeans:
    """What decisions are made with.

    Attributes:
        trust: The public keys of matchers.
        alternation: Watches for callers that feel their way along a threshold.
        budget: Limits what searches hold while they arrive.
        on_withheld: Called when a search is decided without some of its candidates.
    """

    vault: Vault
    decrypters: DecrypterCache
    ledger: Ledger
    audit: AuditLog
    thresholds: ThresholdTable
    trust: TrustStore
    rules: TicketRules
    alternation: AlternationMonitor
    budget: CiphertextBudget
    on_withheld: Callable[[], None]
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
            limit = policy.quotas_in_force.answers_per_target
            targets = [_target(batch) for batch in answer.batches]
            charges = [Charge(QuotaKind.ANSWERS_PER_TARGET, target, limit) for target in sorted(set(targets))]
            self._spend(usable, answer, [_caller_charge(policy, caller), *charges])
            entry.allow()
            with means.decrypters.lease(usable) as decrypter:
                scores = _decrypt(decrypter, answer)
            is_match = bool(matches(scores, threshold.metric, threshold.value).any())
            best = most_alike(scores, threshold.metric)
            if best is not None:
                probe_sha256 = answer.statement.probe_sha256
                means.alternation.observe(caller, targets[best], probe_sha256, float(scores[best]), is_match)
            return VerificationDecision(is_match, threshold.profile, _band(policy, threshold, scores))

    def open_identification(self, caller: str) -> "Identification":
        """Begin to take in the batches of a 1:N search. Close it, decided or not."""
        means = self._means
        return Identification(
            AuditEntry(means.audit, caller, Operation.IDENTIFY.value),
            AnswerAssembly(means.trust, Circuit.SEARCH, means.rules, means.budget),
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
            used_up = self._used_up(usable, answer)
            entry.allow(ALLOWED_IN_PART if used_up else ALLOWED)
            with means.decrypters.lease(usable) as decrypter:
                scores = _decrypt(decrypter, answer)
                places = ScorePlaces(answer, decrypter)
                withheld = places.positions(used_up)
                # Forgotten before anything looks at them, so that nothing can depend on them.
                scores[withheld] = np.nan
                positions = self._named(usable, places, scores, threshold, top_k)
                self._observe(entry.actor, answer, places, scores, threshold)
            if withheld.size:
                means.on_withheld()
            candidates = tuple(
                RankedCandidate(*places.locate(position), _band(policy, threshold, scores[position : position + 1]))
                for position in positions
            )
            return IdentificationDecision(candidates, threshold.profile, answer.score_count, int(withheld.size))

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
        now = self._means.clock()
        answer.require_current(now)
        ticket = OneTimeTicket(answer.signer, answer.statement.nonce, answer.expire_time)
        self._means.ledger.spend(usable.key.name, ticket, charges, now.date())

    def _used_up(self, usable: UsableVersion, answer: TicketedAnswer) -> frozenset[str]:
        """The places of the gallery that were named as often as a day allows."""
        limit = usable.key.policy.quotas_in_force.matches_per_candidate
        if not limit:
            return frozenset()
        group = ChargeGroup(QuotaKind.MATCHES_PER_CANDIDATE, gallery_prefix(answer), limit)
        return self._means.ledger.used_up(usable.key.name, group, self._means.clock().date())

    def _named(
        self, usable: UsableVersion, places: ScorePlaces, scores: Scores, threshold: ResolvedThreshold, top_k: int
    ) -> list[int]:
        """The positions to name, best first, each counted. Forgets the scores of what others used up meanwhile."""
        limit = usable.key.policy.quotas_in_force.matches_per_candidate
        while True:
            positions = [int(each) for each in best_matches(scores, threshold.metric, threshold.value, top_k)]
            charges = [
                Charge(QuotaKind.MATCHES_PER_CANDIDATE, places.name(position), limit) for position in positions if limit
            ]
            used_up = self._means.ledger.claim(usable.key.name, charges, self._means.clock().date())
            if not used_up:
                return positions
            scores[places.positions(used_up)] = np.nan

    def _observe(
        self, caller: str, answer: TicketedAnswer, places: ScorePlaces, scores: Scores, threshold: ResolvedThreshold
    ) -> None:
        best = most_alike(scores, threshold.metric)
        if best is not None:
            is_match = bool(matches(scores[best : best + 1], threshold.metric, threshold.value).any())
            probe_sha256 = answer.statement.probe_sha256
            self._means.alternation.observe(caller, places.name(best), probe_sha256, float(scores[best]), is_match)


@dataclass(frozen=True, slots=True)
class Identification:
    """A 1:N search whose batches are arriving."""

    entry: AuditEntry
    assembly: AnswerAssembly

    def close(self) -> None:
        """Forget what arrived."""
        self.assembly.close()


def _decrypt(decrypter: ScoreDecrypter, answer: TicketedAnswer) -> Scores:
    return np.concatenate(
        [
            decrypter.decrypt(batch.ciphertext, batch.statement.space, batch.statement.score_count)
            for batch in answer.batches
        ]
    )


def _checked_top_k(policy: KeyPolicy, top_k: int) -> int:
    if not 0 <= top_k <= LARGEST_TOP_K:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"top_k is 0 to {LARGEST_TOP_K}, not {top_k}")
    if top_k > policy.top_k_limit:
        raise PermissionDeniedError(
            Reason.POLICY_DENIED, f"the key's policy gives at most {policy.top_k_limit} candidates, not {top_k}"
        )
    return top_k or DEFAULT_TOP_K


def _caller_charge(policy: KeyPolicy, caller: str) -> Charge:
    return Charge(QuotaKind.ANSWERS_PER_CALLER, caller, policy.quotas_in_force.answers_per_caller)


def _target(batch: TicketedBatch) -> str:
    """The reference that is asked about, enrolled under whatever name, or brought along by the caller."""
    return pseudonym("reference", batch.statement.reference_sha256.hex())


def _band(policy: KeyPolicy, threshold: ResolvedThreshold, scores: Scores) -> str:
    if policy.release is not Release.BANDED:
        return ""
    for operating_point, value in threshold.bands:
        if matches(scores, threshold.metric, value).any():
            return operating_point
    return ""
