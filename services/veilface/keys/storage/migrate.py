"""The tables of the key service's database."""

from typing import Final

from veilface.common.database import Database
from veilface.common.migrations import run_migrations

_LOCK: Final = 0x7665_696C_6B65_7973


def migrate(database: Database) -> None:
    """Bring them to the version of this code; errors as for `run_migrations`."""
    run_migrations(database, "veilface.keys.storage:migrations", _LOCK)
