"""What happens beside the calls: becoming ready, and regular sweeps."""

import asyncio
from datetime import timedelta

import structlog

from veilface.common.errors import VeilfaceError
from veilface.common.health import Readiness
from veilface.common.identities import KEYS_IDENTITY
from veilface.common.pool import BoundedPool
from veilface.keys.domain.audit import audited
from veilface.keys.domain.decide import DecisionMeans
from veilface.keys.domain.master_key import MasterKeySource
from veilface.keys.storage.audit import DurableAuditLog
from veilface.keys.storage.database import Database

DATABASE = "database"
AUDIT = "audit log"
MASTER_KEY = "master key"

# Replicas' clocks differ; what is forgotten too early could be replayed.
_FORGET_AFTER = timedelta(hours=1)
_KEEP_COUNTERS = timedelta(days=2)


class Startup:
    """Brings the vault into service, and tries again for as long as something is missing.

    Args:
        source: Where the master key comes from.
        retry_s: Seconds between attempts.
    """

    def __init__(
        self,
        database: Database,
        audit: DurableAuditLog,
        source: MasterKeySource,
        means: DecisionMeans,
        readiness: Readiness,
        retry_s: float,
    ) -> None:
        self._steps = {
            DATABASE: database.migrate,
            AUDIT: audit.open,
            MASTER_KEY: lambda: means.vault.unseal(source.load()),
        }
        self._readiness = readiness
        self._retry_s = retry_s

    async def run(self) -> None:
        """Take the steps in order, each until it succeeds."""
        for condition, step in self._steps.items():
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
        structlog.get_logger().info("vault_unsealed")


class Sweeper:
    """Destroys versions whose time has come, and forgets what is not needed any more.

    Args:
        interval_s: Seconds between sweeps.
    """

    def __init__(self, means: DecisionMeans, pool: BoundedPool, interval_s: float) -> None:
        self._means = means
        self._pool = pool
        self._interval_s = interval_s

    async def run(self) -> None:
        """Sweep until canceled. A failed sweep is logged and tried again at the next one."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._pool.run(self.sweep)
            except VeilfaceError as error:
                structlog.get_logger().warning("sweep_failed", reason=error.reason.value, problem=error.message)

    def sweep(self) -> None:
        """Do it once."""
        means = self._means
        for name in means.vault.due_for_destruction():
            with audited(means.audit, KEYS_IDENTITY, "destroy-version", str(name)) as entry:
                entry.allow()
                means.vault.destroy_due(name)
        means.decrypters.drop_unusable()
        now = means.clock()
        means.ledger.forget(now - _FORGET_AFTER, (now - _KEEP_COUNTERS).date())
