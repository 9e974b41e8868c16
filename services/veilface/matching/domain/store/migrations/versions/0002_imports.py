"""Segments that were imported as blobs, and the requests that imported them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Give segments a blob, and remember imports."""
    op.add_column("segments", sa.Column("blob_sha256", sa.LargeBinary(), nullable=True))
    op.add_column("segments", sa.Column("blob_bytes", sa.BigInteger(), nullable=True))
    op.create_table(
        "segment_imports",
        sa.Column("gallery_uid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("first_enrollment", sa.BigInteger(), nullable=False),
        sa.Column("enrollment_count", sa.Integer(), nullable=False),
        sa.Column("blob_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("subject_ids_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gallery_uid", "request_id", name=op.f("pk_segment_imports")),
        sa.ForeignKeyConstraint(
            ["gallery_uid"], ["galleries.uid"], name=op.f("fk_segment_imports_galleries"), ondelete="CASCADE"
        ),
    )
    op.create_index(
        op.f("ix_segment_imports_gallery_uid_first_enrollment"),
        "segment_imports",
        ["gallery_uid", "first_enrollment"],
        unique=True,
    )
