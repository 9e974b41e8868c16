"""The tables of the record store."""

from typing import Final

from veilface.common.database import Database
from veilface.common.migrations import run_migrations

_LOCK: Final = 0x7665696C


def migrate(database: Database) -> None:
    """Bring them to the version of this code; errors as for `run_migrations`."""
    run_migrations(database, "veilface.matching.domain.store:migrations", _LOCK)
