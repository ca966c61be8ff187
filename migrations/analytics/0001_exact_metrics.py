"""Execution metrics are stored per hour, day, week and month in one table that refuses impossible figures."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from pipelines.subjects.dimensions import (
    ALL_CLIENTS,
    ALL_INITIATORS,
    ALL_WORKFLOWS,
    NO_CLIENT,
    UNKNOWN_INITIATOR,
)

revision = "analytics_0001"
down_revision = None
branch_labels = ("analytics",)
depends_on = None

SCHEMA = "analytics"
TABLES = (
    "aggregate_metrics",
    "organizations",
    "workflows",
    "clients",
    "extraction_cursors",
    "published_facts",
    "job_anomalies",
)


def upgrade() -> None:
    """Create the metrics, the names that explain them, and what a run must remember."""
    _comment_the_schema()
    _create_aggregate_metrics()
    _create_organizations()
    _create_names("workflows", "workflow")
    _create_names("clients", "client")
    _create_extraction_cursors()
    _create_published_facts()
    _create_job_anomalies()


def downgrade() -> None:
    """Drop every table; after the next upgrade a refresh computes the metrics again from the source."""
    for table in reversed(TABLES):
        op.drop_table(table, schema=SCHEMA)


def _comment_the_schema() -> None:
    op.execute(f"COMMENT ON SCHEMA {SCHEMA} IS 'Execution metrics and the names that explain them.'")
    op.execute(
        f"COMMENT ON TABLE {SCHEMA}.alembic_version IS 'Which migration this schema is at; kept by Alembic.'"
    )
    op.execute(f"COMMENT ON COLUMN {SCHEMA}.alembic_version.version_num IS 'The newest migration applied.'")


def _create_aggregate_metrics() -> None:
    # No index but the key: writing this table is the product's main cost.
    op.create_table(
        "aggregate_metrics",
        *_dimensions(),
        *_figures(),
        _time("computed_at", "When this row last changed.", nullable=False),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "period",
            "period_start",
            "workflow_id",
            "client_id",
            "initiator_type",
            name="aggregate_metrics_primary_key",
        ),
        *_invariants(),
        schema=SCHEMA,
        comment="How a tenant's jobs ended and how long they took, per period and dimension: what dashboards"
        " read. One row per combination that has jobs; a dimension that is not broken down holds its"
        " 'all' value, so filter on every dimension and never add rows of different kinds.",
    )


def _dimensions() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant the jobs belong to."),
        sa.Column(
            "period",
            sa.Text,
            nullable=False,
            comment="How long the bucket is: hour, day, week (ISO, from Monday) or month, all in UTC.",
        ),
        _time("period_start", "Inclusive start of the bucket the jobs completed in.", nullable=False),
        sa.Column(
            "workflow_id",
            sa.Uuid,
            nullable=False,
            comment=f"The workflow, or {ALL_WORKFLOWS} for all workflows together.",
        ),
        sa.Column(
            "client_id",
            sa.Uuid,
            nullable=False,
            comment=f"The client, or {ALL_CLIENTS} for all clients together,"
            f" or {NO_CLIENT} for the jobs without a client.",
        ),
        sa.Column(
            "initiator_type",
            sa.Text,
            nullable=False,
            comment=f"The initiator type, or '{ALL_INITIATORS}' for all together,"
            f" or '{UNKNOWN_INITIATOR}' for the jobs that name none.",
        ),
    )


def _figures() -> tuple[sa.Column[Any], ...]:
    return (
        _count("total_executions", "Jobs counted in this row: completed and failed ones."),
        _count("completed_executions", "Jobs among them that ended COMPLETED."),
        _count("failed_executions", "Jobs among them that ended FAILED."),
        _count(
            "timed_executions",
            "Jobs among them with an honest duration (not negative): the n behind every duration here.",
        ),
        _figure(
            "success_rate_pct", "Percent: 100 x completed_executions / total_executions.", nullable=False
        ),
        _figure(
            "total_duration_ms",
            "Milliseconds from start to completion, summed over the timed jobs; 0 when there is none.",
            nullable=False,
        ),
        _figure("average_duration_ms", "Mean duration in milliseconds; NULL when no job is timed."),
        _figure("min_duration_ms", "Shortest duration in milliseconds; NULL when no job is timed."),
        _figure("max_duration_ms", "Longest duration in milliseconds; NULL when no job is timed."),
        _figure(
            "median_duration_ms",
            "Median duration in milliseconds, interpolated like percentile_cont; NULL when no job is timed.",
        ),
        *(
            _figure(
                f"p{percent}_duration_ms",
                f"Milliseconds within which {percent} percent of the jobs ended, interpolated;"
                " NULL when no job is timed.",
            )
            for percent in (90, 95, 99)
        ),
    )


def _invariants() -> tuple[sa.CheckConstraint, ...]:
    return (
        _check("period_is_known", "period IN ('day', 'hour', 'month', 'week')"),
        _check(
            "counts_are_not_negative",
            "completed_executions >= 0 AND failed_executions >= 0 AND timed_executions >= 0",
        ),
        _check(
            "total_is_completed_plus_failed", "total_executions = completed_executions + failed_executions"
        ),
        _check("counts_at_least_one_job", "total_executions >= 1"),
        _check("timed_are_among_the_counted", "timed_executions <= total_executions"),
        _check("success_rate_is_a_percentage", "success_rate_pct >= 0 AND success_rate_pct <= 100"),
        _check(
            "durations_are_null_when_none_is_timed",
            "num_nulls(average_duration_ms, min_duration_ms, max_duration_ms, median_duration_ms,"
            " p90_duration_ms, p95_duration_ms, p99_duration_ms)"
            " = CASE WHEN timed_executions = 0 THEN 7 ELSE 0 END",
        ),
        _check("total_duration_is_zero_when_none_is_timed", "timed_executions > 0 OR total_duration_ms = 0"),
        # Exact comparisons: interpolating between whole microseconds never leaves their interval.
        _check(
            "durations_are_in_order",
            "min_duration_ms >= 0 AND min_duration_ms <= median_duration_ms"
            " AND median_duration_ms <= p90_duration_ms AND p90_duration_ms <= p95_duration_ms"
            " AND p95_duration_ms <= p99_duration_ms AND p99_duration_ms <= max_duration_ms",
        ),
        # PostgreSQL sorts NaN above everything, so it would be in order.
        _check(
            "durations_are_numbers",
            "total_duration_ms >= 0 AND total_duration_ms < 'Infinity'"
            " AND average_duration_ms >= 0 AND average_duration_ms < 'Infinity'"
            " AND max_duration_ms < 'Infinity'",
        ),
    )


def _create_organizations() -> None:
    op.create_table(
        "organizations",
        sa.Column("id", sa.Uuid, nullable=False, comment="The organization."),
        sa.Column("name", sa.Text, comment="Its name in the source."),
        sa.Column(
            "time_zone",
            sa.Text,
            nullable=False,
            server_default="UTC",
            comment="IANA name of the zone the organization lives in; the buckets are UTC all the same.",
        ),
        _time("deleted_at", "When it was soft-deleted in the source; NULL while it is in use."),
        sa.PrimaryKeyConstraint("id", name="organizations_primary_key"),
        schema=SCHEMA,
        comment="Names of the organizations, copied from the source with the metrics they explain.",
    )


def _create_names(table: str, what: str) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid, nullable=False, comment=f"The {what}."),
        sa.Column("organization_id", sa.Uuid, nullable=False, comment=f"The tenant that owns the {what}."),
        sa.Column("name", sa.Text, comment="Its name in the source."),
        _time("deleted_at", "When it was soft-deleted in the source; NULL while it is in use."),
        sa.PrimaryKeyConstraint("id", name=f"{table}_primary_key"),
        schema=SCHEMA,
        comment=f"Names of the {what}s, copied from the source with the metrics they explain.",
    )
    op.create_index(f"{table}_by_organization_id", table, ["organization_id"], schema=SCHEMA)


def _create_extraction_cursors() -> None:
    op.create_table(
        "extraction_cursors",
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant whose jobs were read."),
        _count(
            "horizon",
            "64-bit transaction id of the source below which every transaction had ended:"
            " the next run reads the rows written at or after it.",
        ),
        sa.Column(
            "incarnation",
            sa.Text,
            nullable=False,
            comment="Which server, history, database and table was read; another one is read in full.",
        ),
        _time("extracted_at", "When it was read, by the source's clock.", nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name="extraction_cursors_primary_key"),
        schema=SCHEMA,
        comment="How far each organization's jobs have been read from the source.",
    )


def _create_published_facts() -> None:
    op.create_table(
        "published_facts",
        sa.Column(
            "organization_id", sa.Uuid, nullable=False, comment="The tenant whose metrics were published."
        ),
        sa.Column(
            "facts_table_id",
            sa.Uuid,
            nullable=False,
            comment="Which job_facts table they were computed from; another table counts its versions anew.",
        ),
        _count("facts_version", "The version of that table they agree with."),
        _time("published_at", "When they were last published.", nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name="published_facts_primary_key"),
        schema=SCHEMA,
        comment="Which version of job_facts each organization's metrics agree with.",
    )


def _create_job_anomalies() -> None:
    op.create_table(
        "job_anomalies",
        sa.Column("job_id", sa.Uuid, nullable=False, comment="The job in the source."),
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant that owns the job."),
        sa.Column(
            "reason",
            sa.Text,
            nullable=False,
            comment="What is wrong with it, such as negative_duration or missing_timestamp.",
        ),
        sa.Column(
            "effect",
            sa.Text,
            nullable=False,
            comment="not_counted: the job is in no metric; not_timed: it is counted, without its duration.",
        ),
        sa.Column(
            "detail",
            sa.Text,
            nullable=False,
            server_default="",
            comment="What was seen, in times and ids; never payload or free text.",
        ),
        _time("first_seen_at", "When it was first listed.", nullable=False),
        _time("last_seen_at", "When it was last found to be still so.", nullable=False),
        sa.PrimaryKeyConstraint("job_id", "reason", name="job_anomalies_primary_key"),
        sa.CheckConstraint(
            "effect IN ('not_counted', 'not_timed')", name=op.f("job_anomalies_effect_is_known")
        ),
        schema=SCHEMA,
        comment="Source rows that could not be taken at face value. A row leaves the list when the source is"
        " repaired or its time has come.",
    )
    op.create_index("job_anomalies_by_organization_id", "job_anomalies", ["organization_id"], schema=SCHEMA)


def _time(name: str, comment: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **options)


def _count(name: str, comment: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=False, comment=comment)


def _figure(name: str, comment: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Double, comment=comment, **options)


def _check(name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"aggregate_metrics_{name}"))
