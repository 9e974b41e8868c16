"""Watches what must hold before, and while, the matching service answers."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from veilface.common.database import Database
from veilface.common.errors import ResourceExhaustedError, UnavailableError
from veilface.common.health import Readiness
from veilface.common.pool import BoundedPool
from veilface.matching.domain.store.identity import StoreIdentity, read_identity
from veilface.matching.domain.store.migrate import migrate

DATABASE: Final = "database"
KERNELS: Final = "kernels"

_RETRY_S: Final = 2.0


async def prepare_database(readiness: Readiness, database: Database) -> StoreIdentity:
    """Run the migrations as soon as the database answers, and say which one it is; until then no call is taken.

    Raises:
        ConfigurationError: INVALID_SETTING if its tables are those of a newer version.
    """
    while True:
        try:
            await asyncio.to_thread(migrate, database)
            return await asyncio.to_thread(read_identity, database)
        except UnavailableError as error:
            readiness.fail(DATABASE, error.message)
            structlog.get_logger().warning("database_unavailable", retry_s=_RETRY_S, problem=error.message)
        await asyncio.sleep(_RETRY_S)


async def warm_kernels(readiness: Readiness, warm: Callable[[], None]) -> None:
    """Compile or load the kernels; until then no call is taken."""
    readiness.fail(KERNELS, "they are being compiled")
    await asyncio.to_thread(warm)
    readiness.hold(KERNELS)


async def watch_database(readiness: Readiness, database: Database, storage: BoundedPool, interval_s: float) -> None:
    """Say whether the database answers, from now on."""
    while True:
        try:
            await storage.run(database.ping)
        except UnavailableError as error:
            readiness.fail(DATABASE, error.message)
        except ResourceExhaustedError:
            # Busy with the database is not without it.
            pass
        else:
            readiness.hold(DATABASE)
        await asyncio.sleep(interval_s)
