"""Which record store this is, and the keys that are derived from its secret."""

import hashlib
import hmac
from dataclasses import dataclass, field

from sqlalchemy import select

from veilface.common.database import Database
from veilface.matching.domain.store.schema import StoreIdentityRow


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """The name of a record store, made when its tables were, and its secret."""

    store_id: str
    secret: bytes = field(repr=False)

    def derive(self, purpose: str) -> bytes:
        """A key for one purpose, 32 bytes."""
        return hmac.digest(self.secret, purpose.encode(), hashlib.sha256)


def read_identity(database: Database) -> StoreIdentity:
    """The identity of this store."""
    with database.read() as connection:
        row = connection.execute(select(StoreIdentityRow.store_id, StoreIdentityRow.secret)).one()
    return StoreIdentity(row.store_id, row.secret)
