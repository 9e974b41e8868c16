"""Keys, one-time nonces, quotas and the audit log."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create every table."""
    _create_keys()
    _create_ledger()
    _create_audit()


def _create_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("scheme", sa.String(32), nullable=False),
        sa.Column("profile", sa.String(64), nullable=False),
        sa.Column("primary_version", sa.BigInteger, nullable=False),
        sa.Column("minimum_version", sa.BigInteger, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("transformed", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_keys"),
    )
    op.create_table(
        "key_versions",
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("version", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("destroy_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("public_key_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("evaluation_keys_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("public_key_bytes", sa.BigInteger, nullable=False),
        sa.Column("evaluation_keys_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", "version", name="pk_key_versions"),
        sa.ForeignKeyConstraint(["key"], ["keys.key"], name="fk_key_versions_key"),
    )
    op.create_index("ix_key_versions_destroy_time", "key_versions", ["destroy_time"])
    op.create_table(
        "key_material",
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("version", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("sealed_secret_key", sa.LargeBinary, nullable=False),
        sa.Column("sealed_transform_seed", sa.LargeBinary, nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("evaluation_keys", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key", "version", name="pk_key_material"),
        sa.ForeignKeyConstraint(
            ["key", "version"], ["key_versions.key", "key_versions.version"], name="fk_key_material_key_version"
        ),
    )


def _create_ledger() -> None:
    op.create_table(
        "spent_nonces",
        sa.Column("signer", sa.String(256), nullable=False),
        sa.Column("nonce", sa.LargeBinary(16), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("signer", "nonce", name="pk_spent_nonces"),
    )
    op.create_index("ix_spent_nonces_expire_time", "spent_nonces", ["expire_time"])
    op.create_table(
        "quota_counters",
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("counted", sa.String(256), nullable=False),
        sa.Column("day", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", "kind", "counted", "day", name="pk_quota_counters"),
    )
    op.create_index("ix_quota_counters_day", "quota_counters", ["day"])


def _create_audit() -> None:
    op.create_table(
        "audit_records",
        sa.Column("sequence", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("writer", sa.String(32), nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_records"),
    )
    op.create_index("ix_audit_records_writer_sequence", "audit_records", ["writer", "sequence"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
        sa.CheckConstraint("id = 1", name="ck_audit_head_one_row"),
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "hash": bytes(32)}])
