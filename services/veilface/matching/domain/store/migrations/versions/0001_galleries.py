"""Galleries, subjects, segments, enrollments, templates, request ids and the identity of the store."""

import secrets
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create every table and name the store."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    identity = op.create_table(
        "store_identity",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("store_id", sa.String(32), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_store_identity")),
    )
    op.bulk_insert(
        identity, [{"one": 1, "store_id": secrets.token_hex(16), "secret": secrets.token_bytes(32)}], multiinsert=False
    )
    op.create_table(
        "galleries",
        sa.Column("uid", number, nullable=False),
        sa.Column("gallery_id", _ordered_string(63), nullable=False),
        sa.Column("key_version", sa.String(160), nullable=False),
        sa.Column("scheme", sa.String(32), nullable=False),
        sa.Column("profile", sa.String(64), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("next_enrollment", sa.BigInteger(), nullable=False),
        sa.Column("enrollment_count", sa.BigInteger(), nullable=False),
        sa.Column("subject_count", sa.BigInteger(), nullable=False),
        sa.Column("template_bytes", sa.BigInteger(), nullable=False),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_galleries")),
        sa.UniqueConstraint("gallery_id", name=op.f("uq_galleries_gallery_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "subjects",
        sa.Column("gallery_uid", number, nullable=False),
        sa.Column("subject_id", _ordered_string(128), nullable=False),
        sa.Column("enrollment_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("gallery_uid", "subject_id", name=op.f("pk_subjects")),
        _gallery_key("subjects"),
    )
    op.create_table(
        "segments",
        sa.Column("gallery_uid", number, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("next_slot", sa.Integer(), nullable=False),
        sa.Column("enrollment_count", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gallery_uid", "number", name=op.f("pk_segments")),
        _gallery_key("segments"),
    )
    op.create_table(
        "enrollments",
        sa.Column("gallery_uid", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject_id", _ordered_string(128), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("key_version", sa.String(160), nullable=False),
        sa.Column("template_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("template_bytes", sa.BigInteger(), nullable=False),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gallery_uid", "number", name=op.f("pk_enrollments")),
        sa.ForeignKeyConstraint(
            ["gallery_uid", "segment"],
            ["segments.gallery_uid", "segments.number"],
            name=op.f("fk_enrollments_segments"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        op.f("ix_enrollments_gallery_uid_segment_slot"), "enrollments", ["gallery_uid", "segment", "slot"], unique=True
    )
    op.create_index(
        op.f("ix_enrollments_gallery_uid_subject_id_number"), "enrollments", ["gallery_uid", "subject_id", "number"]
    )
    op.create_table(
        "templates",
        sa.Column("gallery_uid", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("signer", sa.String(256), nullable=False),
        sa.Column("signer_key_id", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("gallery_uid", "number", name=op.f("pk_templates")),
        sa.ForeignKeyConstraint(
            ["gallery_uid", "number"],
            ["enrollments.gallery_uid", "enrollments.number"],
            name=op.f("fk_templates_enrollments"),
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "requests",
        sa.Column("gallery_uid", number, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("enrollment", sa.BigInteger(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("gallery_uid", "request_id", name=op.f("pk_requests")),
        _gallery_key("requests"),
    )
    op.create_index(op.f("ix_requests_gallery_uid_enrollment"), "requests", ["gallery_uid", "enrollment"])


def _ordered_string(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _gallery_key(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["gallery_uid"], ["galleries.uid"], name=op.f(f"fk_{table}_galleries"), ondelete="CASCADE"
    )
