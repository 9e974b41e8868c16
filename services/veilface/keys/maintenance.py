"""What happens beside the calls: becoming ready, and regular sweeps."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

import structlog

from veilface.common.database import Database
from veilface.common.errors import FailedPreconditionError, Reason, UnavailableError, VeilfaceError
from veilface.common.health import Readiness
from veilface.common.identities import KEYS_IDENTITY
from veilface.common.names import KeyVersionName
from veilface.keys.domain.audit import audited
from veilface.keys.domain.decide import DecisionMeans
from veilface.keys.domain.master_key import MasterKeySource
from veilface.keys.storage.audit import DurableAuditLog
from veilface.keys.storage.migrate import migrate

DATABASE = "database"
AUDIT = "audit log"
MASTER_KEY = "master key"

# Replicas' clocks differ; what is forgotten too early could be replayed.
_FORGET_AFTER = timedelta(hours=1)
_KEEP_COUNTERS = timedelta(days=2)


class Maintenance:
    """Brings the vault into service and keeps it there, trying again for as long as something is missing.

    Args:
        source: Where the master key comes from.
        retry_s: Seconds between attempts.
        interval_s: Seconds between sweeps.
    """

    def __init__(
        self,
        database: Database,
        audit: DurableAuditLog,
        source: MasterKeySource,
        means: DecisionMeans,
        readiness: Readiness,
        retry_s: float,
        interval_s: float,
    ) -> None:
        self._database = database
        self._audit = audit
        self._source = source
        self._means = means
        self._readiness = readiness
        self._retry_s = retry_s
        self._interval_s = interval_s

    async def run(self) -> None:
        """Become ready, then sweep until canceled. A failed sweep is logged and tried again at the next one."""
        await self._until_done(DATABASE, partial(migrate, self._database))
        await self._until_done(AUDIT, self._audit.open)
        await self._until_done(MASTER_KEY, self._unseal)
        structlog.get_logger().info("vault_unsealed")
        wait_s = self._interval_s
        while True:
            await asyncio.sleep(wait_s)
            audit_holds = await self._holds(AUDIT, self._audit.catch_up)
            database_holds = await self._holds(DATABASE, self.sweep)
            wait_s = self._interval_s if audit_holds and database_holds else self._retry_s
            if self._means.vault.is_sealed:
                await self._until_done(MASTER_KEY, self._unseal)

    def sweep(self) -> None:
        """Destroy versions whose time has come, and forget what is not needed any more."""
        means = self._means
        try:
            for name in means.vault.due_for_destruction():
                self._destroy(name)
            now = means.clock()
            means.ledger.forget(now - _FORGET_AFTER, (now - _KEEP_COUNTERS).date())
            means.vault.seal_if_resealed()
        finally:
            means.decrypters.drop_unusable()

    def _destroy(self, name: KeyVersionName) -> None:
        # Another replica may be faster, or an operator restore it: then the record says so.
        with (
            suppress(FailedPreconditionError),
            audited(self._means.audit, KEYS_IDENTITY, "destroy-version", str(name)) as entry,
        ):
            entry.allow()
            if not self._means.vault.destroy_due(name):
                raise FailedPreconditionError(Reason.KEY_CHANGED, f"{name} was destroyed or restored meanwhile")

    def _unseal(self) -> None:
        for name in self._means.vault.unseal(self._source.load()):
            structlog.get_logger().error("key_version_damaged", key_version=str(name))

    async def _holds(self, condition: str, step: Callable[[], None]) -> bool:
        """Do a step that is done regularly; a condition fails while its database or file does not answer."""
        try:
            # Not on the pool of the calls: an overloaded service destroys what is due all the same.
            await asyncio.to_thread(step)
        except VeilfaceError as error:
            structlog.get_logger().warning("sweep_failed", reason=error.reason.value, problem=error.message)
            if isinstance(error, UnavailableError):
                self._readiness.fail(condition, error.message)
                return False
        self._readiness.hold(condition)
        return True

    async def _until_done(self, condition: str, step: Callable[[], None]) -> None:
        last_problem = ""
        while True:
            try:
                await asyncio.to_thread(step)
                break
            except VeilfaceError as error:
                self._readiness.fail(condition, error.message)
                if error.message != last_problem:
                    structlog.get_logger().error(
                        "not_serving", missing=condition, reason=error.reason.value, problem=error.message
                    )
                last_problem = error.message
            await asyncio.sleep(self._retry_s)
        self._readiness.hold(condition)
