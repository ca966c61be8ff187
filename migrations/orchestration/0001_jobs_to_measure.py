"""A database can hold the jobs to measure: organizations, their workflows, clients and jobs."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from pipelines.subjects.dimensions import RESERVED_IDS, RESERVED_INITIATORS

revision = "orchestration_0001"
down_revision = None
branch_labels = ("orchestration",)
depends_on = None

SCHEMA = "orchestration"
STATUSES = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")


def upgrade() -> None:
    """Create the four tables, their invariants and the indexes that reading by time needs."""
    _comment_the_schema()
    op.create_table(
        "organizations",
        sa.Column("id", sa.Uuid, nullable=False, comment="The organization."),
        sa.Column("name", sa.Text, nullable=False, comment="Its name as people know it."),
        sa.Column(
            "time_zone",
            sa.Text,
            nullable=False,
            server_default="UTC",
            comment="IANA name of the zone the organization lives in, such as Europe/Amsterdam.",
        ),
        *_lifecycle(),
        sa.PrimaryKeyConstraint("id", name="organizations_primary_key"),
        schema=SCHEMA,
        comment="The tenants; every other row belongs to exactly one.",
    )
    _create_named_things("workflows", "workflow")
    _create_named_things("clients", "client")
    _create_jobs()


def downgrade() -> None:
    """Drop the four tables with their rows; the jobs cannot be brought back from the metrics."""
    for table in ("jobs", "clients", "workflows", "organizations"):
        op.drop_table(table, schema=SCHEMA)
    postgresql.ENUM(name="job_status", schema=SCHEMA).drop(op.get_bind())


def _comment_the_schema() -> None:
    op.execute(
        f"COMMENT ON SCHEMA {SCHEMA} IS 'Jobs as the orchestration service keeps them:"
        " where the metrics are read from, never written to.'"
    )
    op.execute(
        f"COMMENT ON TABLE {SCHEMA}.alembic_version IS 'Which migration this schema is at; kept by Alembic.'"
    )
    op.execute(f"COMMENT ON COLUMN {SCHEMA}.alembic_version.version_num IS 'The newest migration applied.'")


def _create_named_things(table: str, what: str) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid, nullable=False, comment=f"The {what}."),
        sa.Column("organization_id", sa.Uuid, nullable=False, comment=f"The tenant that owns the {what}."),
        sa.Column("name", sa.Text, nullable=False, comment="Its name as people know it."),
        *_lifecycle(),
        sa.PrimaryKeyConstraint("id", name=f"{table}_primary_key"),
        # What lets a job name its workflow and its organization in one foreign key.
        sa.UniqueConstraint("organization_id", "id", name=f"{table}_unique_by_organization_id_id"),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            [f"{SCHEMA}.organizations.id"],
            name=f"{table}_organization_exists",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(f"id NOT IN ({_listed(RESERVED_IDS)})", name=op.f(f"{table}_id_is_not_reserved")),
        schema=SCHEMA,
        comment=f"The {what}s of every organization.",
    )


def _create_jobs() -> None:
    status = postgresql.ENUM(*STATUSES, name="job_status", schema=SCHEMA, create_type=False)
    status.create(op.get_bind())
    op.execute(
        f"COMMENT ON TYPE {SCHEMA}.job_status IS 'Where a job stands; COMPLETED and FAILED are counted.'"
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid, nullable=False, comment="The job."),
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant that owns the job."),
        sa.Column("workflow_id", sa.Uuid, nullable=False, comment="The workflow that was executed."),
        sa.Column("client_id", sa.Uuid, comment="The client it was executed for; NULL when for none."),
        sa.Column(
            "initiator_type",
            sa.Text,
            comment="What started it, such as USER or SCHEDULE; NULL when that is not known.",
        ),
        sa.Column(
            "status",
            status,
            nullable=False,
            comment="COMPLETED and FAILED are counted; a finished job may be retried in place and run again.",
        ),
        sa.Column(
            "result",
            postgresql.JSONB,
            comment="What the execution returned. May hold personal health data: the metrics never read it.",
        ),
        _time("created_at", "When it was asked for.", nullable=False, server_default=sa.func.now()),
        _time("started_at", "When it began to run; NULL before that. May precede created_at."),
        _time(
            "completed_at",
            "When it finished; NULL before that. The bucket it is counted in. May precede started_at.",
        ),
        _time(
            "updated_at",
            "When the row last changed, by the clock of the server that changed it: not in commit order.",
            nullable=False,
            server_default=sa.func.now(),
        ),
        _time("deleted_at", "When it was soft-deleted; NULL while it counts."),
        sa.PrimaryKeyConstraint("id", name="jobs_primary_key"),
        sa.ForeignKeyConstraint(
            ["organization_id", "workflow_id"],
            [f"{SCHEMA}.workflows.organization_id", f"{SCHEMA}.workflows.id"],
            name="jobs_workflow_is_of_the_same_organization",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "client_id"],
            [f"{SCHEMA}.clients.organization_id", f"{SCHEMA}.clients.id"],
            name="jobs_client_is_of_the_same_organization",
            ondelete="SET NULL (client_id)",
        ),
        sa.CheckConstraint(
            "status NOT IN ('COMPLETED', 'FAILED') OR completed_at IS NOT NULL",
            name=op.f("jobs_finished_has_completed_at"),
        ),
        sa.CheckConstraint(
            f"initiator_type NOT IN ({_listed(RESERVED_INITIATORS)})",
            name=op.f("jobs_initiator_type_is_not_reserved"),
        ),
        schema=SCHEMA,
        comment="One row per execution of a workflow. completed_at < started_at can happen, because clocks"
        " of different servers disagree: it is an anomaly that the metrics list, not a constraint here.",
    )
    for columns in (
        ("updated_at",),
        ("completed_at",),
        ("organization_id", "completed_at"),
        ("organization_id", "workflow_id"),
        ("organization_id", "client_id"),
    ):
        op.create_index(f"jobs_by_{'_'.join(columns)}", "jobs", columns, schema=SCHEMA)


def _lifecycle() -> tuple[sa.Column[Any], ...]:
    return (
        _time("created_at", "When it was created.", nullable=False, server_default=sa.func.now()),
        _time(
            "updated_at",
            "When it last changed, by the clock of the server that changed it.",
            nullable=False,
            server_default=sa.func.now(),
        ),
        _time("deleted_at", "When it was soft-deleted; NULL while it is in use."),
    )


def _time(name: str, comment: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **options)


def _listed(values: Any) -> str:
    return ", ".join(f"'{value}'" for value in sorted(str(value) for value in values))
