"""What becomes of an organization's steps is recorded like what becomes of its jobs."""

import sqlalchemy as sa
from alembic import op

revision = "analytics_0006"
down_revision = "analytics_0005"
branch_labels = None
depends_on = None

SCHEMA = "analytics"


def upgrade() -> None:
    """Say of each outcome what it is of, which was jobs so far; keep which deletes of steps are withheld."""
    op.add_column(
        "refresh_outcomes",
        sa.Column(
            "subject",
            sa.Text,
            nullable=False,
            server_default="jobs",
            comment="What of the tenant was to be published: jobs, or steps.",
        ),
        schema=SCHEMA,
    )
    op.alter_column("refresh_outcomes", "subject", server_default=None, schema=SCHEMA)
    op.create_check_constraint(
        op.f("refresh_outcomes_subject_is_known"),
        "refresh_outcomes",
        "subject IN ('jobs', 'steps')",
        schema=SCHEMA,
    )
    op.drop_index(
        "refresh_outcomes_by_organization_id_finished_at", table_name="refresh_outcomes", schema=SCHEMA
    )
    op.create_index(
        "refresh_outcomes_by_organization_id_subject_finished_at",
        "refresh_outcomes",
        ["organization_id", "subject", "finished_at"],
        schema=SCHEMA,
    )
    for column in (
        sa.Column(
            "withheld_at",
            sa.DateTime(timezone=True),
            comment="Since when deletes are withheld because they are too many; NULL for none.",
        ),
        sa.Column(
            "withheld_steps", sa.BigInteger, comment="How many steps they would take away; NULL for none."
        ),
        sa.Column(
            "withheld_ended_since",
            sa.Date,
            comment="The first day of ending that was looked at when they were found; NULL for all.",
        ),
    ):
        op.add_column("step_completeness", column, schema=SCHEMA)


def downgrade() -> None:
    """Forget the outcomes of steps; the next checksum comparison finds again what it withholds."""
    for column in ("withheld_ended_since", "withheld_steps", "withheld_at"):
        op.drop_column("step_completeness", column, schema=SCHEMA)
    op.execute(f"DELETE FROM {SCHEMA}.refresh_outcomes WHERE subject <> 'jobs'")
    op.drop_index(
        "refresh_outcomes_by_organization_id_subject_finished_at",
        table_name="refresh_outcomes",
        schema=SCHEMA,
    )
    op.drop_column("refresh_outcomes", "subject", schema=SCHEMA)
    op.create_index(
        "refresh_outcomes_by_organization_id_finished_at",
        "refresh_outcomes",
        ["organization_id", "finished_at"],
        schema=SCHEMA,
    )
