"""The digests of all templates that were ever enrolled."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ROWS_AT_ONCE = 10_000


def upgrade() -> None:
    """Remember what is enrolled now; what was erased before is not known any more."""
    enrolled = op.create_table(
        "enrolled_templates",
        sa.Column("key", sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql"), nullable=False),
        sa.Column("template_sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key", "template_sha256", name=op.f("pk_enrolled_templates")),
    )
    templates = sa.table("templates", sa.column("key_version"), sa.column("ciphertext_sha256"))
    found = op.get_bind().execute(sa.select(templates.c.key_version, templates.c.ciphertext_sha256).distinct())
    marks = sorted({(key_version.split("/")[1], bytes(digest)) for key_version, digest in found})
    for start in range(0, len(marks), _ROWS_AT_ONCE):
        rows = [{"key": key, "template_sha256": digest} for key, digest in marks[start : start + _ROWS_AT_ONCE]]
        op.bulk_insert(enrolled, rows)
