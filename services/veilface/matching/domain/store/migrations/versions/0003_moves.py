"""Templates under two versions of a key at a time, and moves of galleries from one to the next."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Number templates by their key version too, and remember moves."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("templates", sa.Column("key_version", sa.String(160), nullable=True))
    op.add_column("templates", sa.Column("ciphertext_sha256", sa.LargeBinary(), nullable=True))
    op.execute(
        "UPDATE templates SET "
        "key_version = (SELECT key_version FROM enrollments WHERE enrollments.gallery_uid = templates.gallery_uid "
        "AND enrollments.number = templates.number), "
        "ciphertext_sha256 = (SELECT template_sha256 FROM enrollments "
        "WHERE enrollments.gallery_uid = templates.gallery_uid AND enrollments.number = templates.number)"
    )
    with op.batch_alter_table("templates") as templates:
        templates.alter_column("key_version", existing_type=sa.String(160), nullable=False)
        templates.alter_column("ciphertext_sha256", existing_type=sa.LargeBinary(), nullable=False)
        templates.drop_constraint(op.f("pk_templates"), type_="primary")
        templates.create_primary_key(op.f("pk_templates"), ["gallery_uid", "number", "key_version"])
    op.create_table(
        "moves",
        sa.Column("gallery_uid", number, nullable=False),
        sa.Column("source", sa.String(160), nullable=False),
        sa.Column("target", sa.String(160), nullable=False),
        sa.Column("closed_until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gallery_uid", name=op.f("pk_moves")),
        sa.ForeignKeyConstraint(
            ["gallery_uid"], ["galleries.uid"], name=op.f("fk_moves_galleries"), ondelete="CASCADE"
        ),
    )
    op.create_table(
        "moved_segments",
        sa.Column("gallery_uid", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("blob_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("blob_bytes", sa.BigInteger(), nullable=False),
        sa.Column("slots", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("gallery_uid", "number", name=op.f("pk_moved_segments")),
        sa.ForeignKeyConstraint(
            ["gallery_uid", "number"],
            ["segments.gallery_uid", "segments.number"],
            name=op.f("fk_moved_segments_segments"),
            ondelete="CASCADE",
        ),
    )
