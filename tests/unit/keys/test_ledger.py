import threading
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from veilface.common.database import Database
from veilface.common.errors import FailedPreconditionError, Reason, ResourceExhaustedError
from veilface.common.names import KeyName
from veilface.keys.domain.ledger import Charge, ChargeGroup, OneTimeTicket, QuotaKind, pseudonym
from veilface.keys.storage.ledger import SqlLedger
from veilface.keys.storage.tables import quota_counters, spent_nonces

ON_BOTH_DATABASES = True

KEY = KeyName("office")
DAY = date(2030, 5, 17)


def charge(limit: int, amount: int = 1, counted: str = "me") -> Charge:
    return Charge(QuotaKind.ANSWERS_PER_CALLER, counted, limit, amount)


def ticket(clock: Any, nonce: int = 0, signer: str = "matcher") -> OneTimeTicket:
    return OneTimeTicket(signer, nonce.to_bytes(16, "big"), clock.now + timedelta(minutes=5))


@pytest.fixture
def ledger(database: Database) -> SqlLedger:
    return SqlLedger(database)


@pytest.fixture
def other_replica(database: Database, database_url: str) -> Iterator[SqlLedger]:
    other = Database(database_url)
    yield SqlLedger(other)
    other.close()


def test_a_nonce_is_spent_once(ledger: SqlLedger, clock: Any) -> None:
    ledger.spend(KEY, ticket(clock), [], DAY)
    with pytest.raises(FailedPreconditionError) as caught:
        ledger.spend(KEY, ticket(clock), [], DAY)
    assert caught.value.reason is Reason.TICKET_REPLAYED
    ledger.spend(KEY, ticket(clock, nonce=1), [], DAY)
    ledger.spend(KEY, ticket(clock, signer="other"), [], DAY)


def test_another_replica_knows_a_spent_nonce(ledger: SqlLedger, other_replica: SqlLedger, clock: Any) -> None:
    ledger.spend(KEY, ticket(clock), [], DAY)
    with pytest.raises(FailedPreconditionError):
        other_replica.spend(KEY, ticket(clock), [], DAY)


def test_a_quota_holds_across_replicas_and_restarts(ledger: SqlLedger, other_replica: SqlLedger) -> None:
    for replica in (ledger, other_replica, ledger):
        replica.spend(KEY, None, [charge(3)], DAY)
    for replica in (ledger, other_replica):
        with pytest.raises(ResourceExhaustedError) as caught:
            replica.spend(KEY, None, [charge(3)], DAY)
        assert caught.value.reason is Reason.QUOTA_EXCEEDED


def test_a_race_of_replicas_never_exceeds_the_quota(
    ledger: SqlLedger, other_replica: SqlLedger, database: Database
) -> None:
    outcomes: list[bool] = []

    def spend(replica: SqlLedger) -> None:
        for _ in range(15):
            try:
                replica.spend(KEY, None, [charge(20)], DAY)
                outcomes.append(True)
            except ResourceExhaustedError:
                outcomes.append(False)

    threads = [threading.Thread(target=spend, args=(replica,)) for replica in (ledger, other_replica, ledger)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(outcomes), len(outcomes)) == (20, 45)


def test_a_race_for_one_nonce_has_one_winner(ledger: SqlLedger, other_replica: SqlLedger, clock: Any) -> None:
    wins: list[str] = []

    def spend(name: str, replica: SqlLedger) -> None:
        try:
            replica.spend(KEY, ticket(clock), [], DAY)
            wins.append(name)
        except FailedPreconditionError:
            pass

    threads = [
        threading.Thread(target=spend, args=(str(index), replica))
        for index, replica in enumerate((ledger, other_replica) * 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1


def test_a_refused_charge_spends_nothing_at_all(ledger: SqlLedger, clock: Any) -> None:
    ledger.spend(KEY, None, [charge(1, counted="b")], DAY)
    with pytest.raises(ResourceExhaustedError):
        ledger.spend(KEY, ticket(clock), [charge(1, counted="a"), charge(1, counted="b")], DAY)
    ledger.spend(KEY, ticket(clock), [charge(1, counted="a")], DAY)


def test_a_charge_larger_than_the_limit_is_refused(ledger: SqlLedger) -> None:
    with pytest.raises(ResourceExhaustedError):
        ledger.spend(KEY, None, [charge(5, amount=6)], DAY)
    ledger.spend(KEY, None, [charge(5, amount=5)], DAY)


def test_no_limit_is_not_counted(ledger: SqlLedger, database: Database) -> None:
    for _ in range(3):
        ledger.spend(KEY, None, [charge(0)], DAY)
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(quota_counters)).scalar_one() == 0


@pytest.mark.parametrize(
    "other",
    [
        (KeyName("lobby"), charge(1), DAY),
        (KEY, charge(1, counted="you"), DAY),
        (KEY, Charge(QuotaKind.ANSWERS_PER_TARGET, "me", 1), DAY),
        (KEY, charge(1), DAY + timedelta(days=1)),
    ],
)
def test_keys_kinds_callers_and_days_are_counted_apart(ledger: SqlLedger, other: tuple[KeyName, Charge, date]) -> None:
    ledger.spend(KEY, None, [charge(1)], DAY)
    key, own, day = other
    ledger.spend(key, None, [own], day)
    with pytest.raises(ResourceExhaustedError):
        ledger.spend(KEY, None, [charge(1)], DAY)


def match(counted: str, limit: int = 2) -> Charge:
    return Charge(QuotaKind.MATCHES_PER_CANDIDATE, counted, limit)


def test_a_claim_counts_all_or_says_what_does_not_fit(ledger: SqlLedger, other_replica: SqlLedger) -> None:
    assert ledger.claim(KEY, [match("a/0/1"), match("a/0/2")], DAY) == frozenset()
    assert other_replica.claim(KEY, [match("a/0/1")], DAY) == frozenset()
    assert ledger.claim(KEY, [match("a/0/1"), match("a/0/2"), match("a/0/3")], DAY) == {"a/0/1"}
    # The other two were not counted by the claim that failed.
    assert ledger.claim(KEY, [match("a/0/2"), match("a/0/3")], DAY) == frozenset()
    assert ledger.claim(KEY, [match("a/0/2"), match("a/0/3")], DAY) == {"a/0/2"}


def test_a_claim_without_limits_counts_nothing(ledger: SqlLedger, database: Database) -> None:
    assert ledger.claim(KEY, [match("a/0/1", limit=0)], DAY) == frozenset()
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(quota_counters)).scalar_one() == 0


def test_what_is_used_up_is_told_by_group_limit_key_kind_and_day(ledger: SqlLedger) -> None:
    for counted, times in (("a/0/1", 2), ("a/0/2", 1), ("a/7/1", 2), ("ab/0/1", 2)):
        for _ in range(times):
            ledger.claim(KEY, [match(counted)], DAY)
    ledger.spend(KEY, None, [Charge(QuotaKind.ANSWERS_PER_TARGET, "a/0/9", 1)], DAY)
    kind = QuotaKind.MATCHES_PER_CANDIDATE
    assert ledger.used_up(KEY, ChargeGroup(kind, "a/", 2), DAY) == {"a/0/1", "a/7/1"}
    assert ledger.used_up(KEY, ChargeGroup(kind, "a/", 1), DAY) == {"a/0/1", "a/0/2", "a/7/1"}
    assert ledger.used_up(KEY, ChargeGroup(kind, "a/", 3), DAY) == frozenset()
    assert ledger.used_up(KeyName("lobby"), ChargeGroup(kind, "a/", 2), DAY) == frozenset()
    assert ledger.used_up(KEY, ChargeGroup(kind, "a/", 2), DAY + timedelta(days=1)) == frozenset()


def test_a_race_of_claims_names_a_candidate_as_often_as_its_limit(ledger: SqlLedger, other_replica: SqlLedger) -> None:
    outcomes: list[bool] = []

    def claim(replica: SqlLedger) -> None:
        for _ in range(10):
            outcomes.append(not replica.claim(KEY, [match("a/0/1", 7), match("a/0/2", 7)], DAY))

    threads = [threading.Thread(target=claim, args=(replica,)) for replica in (ledger, other_replica)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(outcomes), len(outcomes)) == (7, 20)


def test_only_what_is_old_is_forgotten(ledger: SqlLedger, database: Database, clock: Any) -> None:
    now: datetime = clock.now
    ledger.spend(KEY, OneTimeTicket("m", bytes(16), now - timedelta(hours=2)), [charge(9)], DAY - timedelta(days=3))
    ledger.spend(KEY, OneTimeTicket("m", b"\x01" * 16, now), [charge(9)], DAY)
    ledger.forget(now - timedelta(hours=1), DAY - timedelta(days=2))
    with database.read() as connection:
        nonces = connection.execute(select(spent_nonces.c.nonce)).scalars().all()
        days = connection.execute(select(quota_counters.c.day)).scalars().all()
    assert (nonces, days) == ([b"\x01" * 16], [DAY.toordinal()])


def test_names_of_targets_do_not_reach_the_database(ledger: SqlLedger, sqlite_files: Callable[[], bytes]) -> None:
    name = "galleries/staff/subjects/ada.lovelace"
    ledger.spend(KEY, None, [Charge(QuotaKind.ANSWERS_PER_TARGET, pseudonym("target", name), 5)], DAY)
    stored = sqlite_files()
    assert b"lovelace" not in stored
    assert pseudonym("target", name).encode() in stored


def test_pseudonyms_of_different_parts_differ() -> None:
    assert pseudonym("a", "bc") != pseudonym("ab", "c")
