"""One-time nonces and daily quotas in the database."""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from veilface.common.database import Database
from veilface.common.errors import FailedPreconditionError, Reason, ResourceExhaustedError
from veilface.common.names import KeyName
from veilface.keys.domain.ledger import Charge, ChargeGroup, OneTimeTicket
from veilface.keys.storage.tables import quota_counters, spent_nonces


class SqlLedger:
    """See `veilface.keys.domain.ledger.Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def spend(self, key: KeyName, ticket: OneTimeTicket | None, charges: Sequence[Charge], day: date) -> None:
        """See Ledger."""
        with self._database.write() as connection:
            if ticket is not None:
                _spend_nonce(connection, ticket)
            for charge in _ordered(charges):
                if not _fits(connection, key, charge, day.toordinal()):
                    raise _exceeded(charge)

    def claim(self, key: KeyName, charges: Sequence[Charge], day: date) -> frozenset[str]:
        """See Ledger."""
        limited = _ordered(charges)
        if not limited:
            return frozenset()
        try:
            with self._database.write() as connection:
                full = {charge.counted for charge in limited if not _fits(connection, key, charge, day.toordinal())}
                if full:
                    raise _NotCountedError
        except _NotCountedError:
            return frozenset(full)
        return frozenset()

    def used_up(self, key: KeyName, group: ChargeGroup, day: date) -> frozenset[str]:
        """See Ledger."""
        query = select(quota_counters.c.counted).where(
            quota_counters.c.key == key.key,
            quota_counters.c.kind == group.kind.value,
            quota_counters.c.counted.startswith(group.prefix),
            quota_counters.c.day == day.toordinal(),
            quota_counters.c.used >= group.limit,
        )
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def forget(self, expired_before: datetime, day_before: date) -> None:
        """See Ledger."""
        with self._database.write() as connection:
            connection.execute(delete(spent_nonces).where(spent_nonces.c.expire_time < expired_before))
            connection.execute(delete(quota_counters).where(quota_counters.c.day < day_before.toordinal()))


class _NotCountedError(Exception):
    """Takes a transaction back."""


def _ordered(charges: Sequence[Charge]) -> list[Charge]:
    """Those with a limit, in one order of rows for everybody: two replicas never wait for each other in a circle."""
    return sorted((charge for charge in charges if charge.limit), key=lambda charge: (charge.kind, charge.counted))


def _exceeded(charge: Charge) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        Reason.QUOTA_EXCEEDED,
        f"the key's daily quota of {charge.limit} {charge.kind.value.replace('-', ' ')} is used up; it is renewed "
        "at midnight UTC",
    )


def _spend_nonce(connection: Connection, ticket: OneTimeTicket) -> None:
    try:
        connection.execute(
            insert(spent_nonces).values(signer=ticket.signer, nonce=ticket.nonce, expire_time=ticket.expire_time)
        )
    except IntegrityError as error:
        raise FailedPreconditionError(
            Reason.TICKET_REPLAYED, "this answer was decided before: compare or search again"
        ) from error


def _fits(connection: Connection, key: KeyName, charge: Charge, day: int) -> bool:
    """Count a charge if its limit allows it."""
    row = (
        (quota_counters.c.key == key.key)
        & (quota_counters.c.kind == charge.kind.value)
        & (quota_counters.c.counted == charge.counted)
        & (quota_counters.c.day == day)
    )
    fits = quota_counters.c.used <= charge.limit - charge.amount
    add = update(quota_counters).where(row).values(used=quota_counters.c.used + charge.amount)
    _ensure_counter(connection, key, charge, day)
    return charge.amount <= charge.limit and connection.execute(add.where(fits)).rowcount == 1


def _ensure_counter(connection: Connection, key: KeyName, charge: Charge, day: int) -> None:
    values = {"key": key.key, "kind": charge.kind.value, "counted": charge.counted, "day": day, "used": 0}
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_or_ignore
    else:
        from sqlalchemy.dialects.sqlite import insert as insert_or_ignore  # type: ignore[assignment]
    connection.execute(insert_or_ignore(quota_counters).values(**values).on_conflict_do_nothing())
