"""The tables of the key service's own database. The migrations build exactly these (a test compares them)."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """A time with a zone, kept as UTC with microseconds, on databases that forget zones as well."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


keys = Table(
    "keys",
    metadata,
    Column("key", String(63), primary_key=True),
    Column("scheme", String(32), nullable=False),
    Column("profile", String(64), nullable=False),
    Column("primary_version", BigInteger, nullable=False),
    Column("minimum_version", BigInteger, nullable=False),
    Column("policy", Text, nullable=False),
    Column("transformed", Boolean(create_constraint=False), nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
)

key_versions = Table(
    "key_versions",
    metadata,
    Column("key", String(63), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(32), nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("destroy_time", UtcDateTime, nullable=True),
    Column("public_key_sha256", LargeBinary(32), nullable=False),
    Column("evaluation_keys_sha256", LargeBinary(32), nullable=False),
    Column("public_key_bytes", BigInteger, nullable=False),
    Column("evaluation_keys_bytes", BigInteger, nullable=False),
    ForeignKeyConstraint(["key"], ["keys.key"]),
    Index(None, "destroy_time"),
)

# Apart from key_versions, so that describing a key reads no megabytes, and destroying a version deletes the row.
key_material = Table(
    "key_material",
    metadata,
    Column("key", String(63), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("sealed_secret_key", LargeBinary, nullable=False),
    Column("sealed_transform_seed", LargeBinary, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("evaluation_keys", LargeBinary, nullable=False),
    ForeignKeyConstraint(["key", "version"], ["key_versions.key", "key_versions.version"]),
)

spent_nonces = Table(
    "spent_nonces",
    metadata,
    Column("signer", String(256), primary_key=True),
    Column("nonce", LargeBinary(16), primary_key=True),
    Column("expire_time", UtcDateTime, nullable=False),
    Index(None, "expire_time"),
)

# One counter per key, kind of quota, what is counted (a caller, or a digest of a target) and UTC day.
quota_counters = Table(
    "quota_counters",
    metadata,
    Column("key", String(63), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("counted", String(256), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),
    Index(None, "day"),
)

audit_records = Table(
    "audit_records",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("writer", String(32), nullable=False),
    Column("record", Text, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Index(None, "writer", "sequence"),
)

# One row: locking it orders the writers of all replicas.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
