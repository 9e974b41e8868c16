"""Which score batches may be decided on: all of one answer, each with a trusted, current ticket."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from veilface.common.attested import Circuit, ScoreStatement, SignedScores, verify_scores
from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, Reason, ResourceExhaustedError
from veilface.common.names import KeyVersionName
from veilface.common.signing import TrustStore
from veilface.keys.domain.ciphertext_budget import CiphertextBudget


@dataclass(frozen=True, slots=True)
class TicketRules:
    """What tickets must satisfy.

    Attributes:
        longest_lifetime: A ticket that expires later than this from now is refused, so that spent nonces can be
            forgotten some day.
        largest_answer_bytes: How many bytes of ciphertext one answer may have.
    """

    longest_lifetime: timedelta = timedelta(hours=1)
    largest_answer_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class TicketedBatch:
    """A score ciphertext that a trusted matcher vouches for."""

    statement: ScoreStatement
    ciphertext: bytes
    signer: str


@dataclass(frozen=True, slots=True)
class TicketedAnswer:
    """Every batch of one answer of the matching service, in order of the batch index."""

    batches: tuple[TicketedBatch, ...]

    @property
    def statement(self) -> ScoreStatement:
        """The statement of the first batch: what is the same in all of them."""
        return self.batches[0].statement

    @property
    def key_version(self) -> KeyVersionName:
        """The key version that the scores are encrypted under."""
        return KeyVersionName.parse(self.statement.key_version)

    @property
    def signer(self) -> str:
        """The matcher that vouches for it."""
        return self.batches[0].signer

    @property
    def expire_time(self) -> datetime:
        """When the last of its tickets expires: until then its nonce must be remembered."""
        return max(batch.statement.expire_time for batch in self.batches)

    @property
    def score_count(self) -> int:
        """How many scores it holds."""
        return sum(batch.statement.score_count for batch in self.batches)

    def require_current(self, now: datetime) -> None:
        """Check that none of its tickets expired while the answer arrived.

        Raises:
            FailedPreconditionError: TICKET_EXPIRED.
        """
        expire_time = min(batch.statement.expire_time for batch in self.batches)
        if now >= expire_time:
            raise FailedPreconditionError(
                Reason.TICKET_EXPIRED,
                f"a ticket of the answer expired at {expire_time.isoformat()}: compare or search again",
            )


class AnswerAssembly:
    """Collects the batches of one answer, in any order, and refuses whatever does not belong together.

    Args:
        trust: The public keys of the matchers.
        circuit: The computation that may be decided on.
        rules: Limits.
        budget: What the ciphertexts are held against until `close`; not set: they are held by a call already.
    """

    def __init__(
        self, trust: TrustStore, circuit: Circuit, rules: TicketRules, budget: CiphertextBudget | None = None
    ) -> None:
        self._trust = trust
        self._circuit = circuit
        self._rules = rules
        self._budget = budget or CiphertextBudget(rules.largest_answer_bytes)
        self._lock = threading.Lock()
        self._batches: dict[int, TicketedBatch] = {}
        self._bytes = 0
        self._is_closed = False

    @property
    def key_version(self) -> str:
        """The key version of what was added so far; empty before the first batch."""
        return next((batch.statement.key_version for batch in self._batches.values()), "")

    def add(self, signed: SignedScores, now: datetime) -> None:
        """Check one batch and keep it.

        Raises:
            PermissionDeniedError: UNTRUSTED_SIGNER or BAD_SIGNATURE.
            InvalidArgumentError: DIGEST_MISMATCH, WRONG_CIRCUIT, or TICKET_INCOMPLETE if it belongs to another answer
                or was added before.
            FailedPreconditionError: TICKET_EXPIRED.
            ResourceExhaustedError: OVERLOADED if the answer is too large, or all that are arriving are together.
        """
        self._hold(len(signed.ciphertext))
        statement = verify_scores(self._trust, signed, now)
        if statement.circuit is not self._circuit:
            raise InvalidArgumentError(
                Reason.WRONG_CIRCUIT,
                f"these scores come from the circuit {statement.circuit.value}, expected {self._circuit.value}",
            )
        if statement.expire_time - now > self._rules.longest_lifetime:
            raise FailedPreconditionError(
                Reason.TICKET_EXPIRED, "the ticket is valid for longer than this service accepts"
            )
        batch = TicketedBatch(statement, signed.ciphertext, signed.signature.signer)
        self._require_same_answer(batch)
        if statement.batch_index in self._batches:
            raise _incomplete(f"batch {statement.batch_index} was sent twice")
        self._batches[statement.batch_index] = batch

    def complete(self) -> TicketedAnswer:
        """The whole answer.

        Raises:
            InvalidArgumentError: TICKET_INCOMPLETE if a batch is missing.
        """
        if not self._batches:
            raise _incomplete("no score batch was sent")
        count = next(iter(self._batches.values())).statement.batch_count
        if len(self._batches) != count:
            raise _incomplete(f"{len(self._batches)} of {count} score batches were sent")
        return TicketedAnswer(tuple(self._batches[index] for index in range(count)))

    def close(self) -> None:
        """Forget the ciphertexts and give back what they held. Nothing can be added any more."""
        with self._lock:
            self._is_closed = True
            self._budget.give_back(self._bytes)
            self._bytes = 0
            self._batches.clear()

    def _hold(self, size_bytes: int) -> None:
        with self._lock:
            if self._is_closed:
                raise _incomplete("the answer was given up")
            if self._bytes + size_bytes > self._rules.largest_answer_bytes:
                raise ResourceExhaustedError(
                    Reason.OVERLOADED, f"an answer has at most {self._rules.largest_answer_bytes} bytes of ciphertext"
                )
            self._budget.hold(size_bytes)
            self._bytes += size_bytes

    def _require_same_answer(self, batch: TicketedBatch) -> None:
        first = next(iter(self._batches.values()), batch)
        if (first.signer, _shared(first.statement)) != (batch.signer, _shared(batch.statement)):
            raise _incomplete("the score batches belong to different answers")


def assemble(
    signed: Sequence[SignedScores], trust: TrustStore, circuit: Circuit, rules: TicketRules, now: datetime
) -> TicketedAnswer:
    """Check all batches of one answer at once. Raises as `AnswerAssembly.add` and `complete`."""
    assembly = AnswerAssembly(trust, circuit, rules)
    for each in signed:
        assembly.add(each, now)
    return assembly.complete()


def _shared(statement: ScoreStatement) -> tuple[object, ...]:
    return (
        statement.nonce,
        statement.key_version,
        statement.scheme,
        statement.profile,
        statement.circuit,
        statement.model,
        statement.space,
        statement.gallery,
        statement.gallery_uid,
        statement.generation,
        statement.subject,
        statement.probe_sha256,
        statement.batch_count,
    )


def _incomplete(why: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.TICKET_INCOMPLETE, f"{why}: send every batch of one answer, once")
