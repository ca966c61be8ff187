"""Withheld deletes stand until they are settled, and restatements say since when the old figures stood."""

import sqlalchemy as sa
from alembic import op

revision = "analytics_0003"
down_revision = "analytics_0002"
branch_labels = None
depends_on = None

SCHEMA = "analytics"


def upgrade() -> None:
    """Add columns that are NULL for what happened before: nothing is known of it."""
    for column in (
        _time("audited_at", "When they were last compared with it, whatever came out; NULL for never."),
        _time("withheld_at", "Since when deletes are withheld because they are too many; NULL for none."),
        sa.Column(
            "withheld_jobs", sa.BigInteger, comment="How many jobs they would take away; NULL for none."
        ),
        sa.Column(
            "withheld_created_since",
            sa.Date,
            comment="The first day of creation that was looked at when they were found; NULL for all.",
        ),
    ):
        op.add_column("completeness", column, schema=SCHEMA)
    op.add_column(
        "restatements",
        _time("old_computed_at", "Since when the figures before stood; NULL where there was no cell."),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Forget all of it; the next checksum comparison finds again what it withholds."""
    op.drop_column("restatements", "old_computed_at", schema=SCHEMA)
    for column in ("withheld_created_since", "withheld_jobs", "withheld_at", "audited_at"):
        op.drop_column("completeness", column, schema=SCHEMA)


def _time(name: str, comment: str) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment)
