"""What may happen only once, or only so often: one-time nonces and daily quotas, both durable."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from veilface.common.names import KeyName


class QuotaKind(StrEnum):
    """What a quota counts."""

    ANSWERS_PER_CALLER = "answers-per-caller"
    ANSWERS_PER_TARGET = "answers-per-target"
    MATCHES_PER_CANDIDATE = "matches-per-candidate"
    REENCRYPTIONS_PER_CALLER = "reencryptions-per-caller"


@dataclass(frozen=True, slots=True)
class Charge:
    """One thing to count against a daily quota.

    Attributes:
        counted: Whose counter it is: a caller, or `pseudonym` of a target.
        limit: The most that the day allows; 0 for no limit.
        amount: How much to add, at least 1.
    """

    kind: QuotaKind
    counted: str
    limit: int
    amount: int = 1


@dataclass(frozen=True, slots=True)
class ChargeGroup:
    """Counters of one kind and limit that belong together.

    Attributes:
        prefix: What `counted` begins with in all of them: lower-case letters, digits and '/'.
        limit: At least 1.
    """

    kind: QuotaKind
    prefix: str
    limit: int


@dataclass(frozen=True, slots=True)
class OneTimeTicket:
    """The nonce of a matcher's answer, to be spent once."""

    signer: str
    nonce: bytes
    expire_time: datetime


class Ledger(Protocol):
    """Durable counters that all replicas share."""

    def spend(self, key: KeyName, ticket: OneTimeTicket | None, charges: Sequence[Charge], day: date) -> None:
        """Spend a nonce and count charges: all of it, durably, or nothing.

        Raises:
            FailedPreconditionError: TICKET_REPLAYED if the nonce was spent before.
            ResourceExhaustedError: QUOTA_EXCEEDED if a charge does not fit into its limit.
            UnavailableError: DEPENDENCY_UNAVAILABLE.
        """
        ...

    def claim(self, key: KeyName, charges: Sequence[Charge], day: date) -> frozenset[str]:
        """Count all charges, durably, or none if some do not fit; answers whose counters those are.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE.
        """
        ...

    def used_up(self, key: KeyName, group: ChargeGroup, day: date) -> frozenset[str]:
        """Whose counters of the group are at their limit.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE.
        """
        ...

    def forget(self, expired_before: datetime, day_before: date) -> None:
        """Delete nonces that expired before a time and counters of days before a day."""
        ...


def pseudonym(*parts: str) -> str:
    """Name a target without writing its name into the database: 64 hexadecimal digits.

    A subject's name can be guessed and hashed: this keeps names out of sight, not out of reach.
    """
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
