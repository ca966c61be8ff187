"""Steps are measured like the jobs they are part of."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from pipelines.subjects.dimensions import ALL_WORKFLOWS

revision = "analytics_0005"
down_revision = "analytics_0004"
branch_labels = None
depends_on = None

SCHEMA = "analytics"
TABLES = ("aggregate_step_metrics", "step_completeness")

# After one transaction the setting is an empty string, not absent.
ASKING = "nullif(current_setting('execmetrics.organization_id', true), '')::uuid"
WRITES = "(SELECT has_table_privilege(current_user, 'analytics.aggregate_metrics', 'INSERT'))"


def upgrade() -> None:
    """Create the table of step metrics, and beside it how complete they are; tenants read their own."""
    op.create_table(
        "aggregate_step_metrics",
        sa.Column("organization_id", sa.Uuid, nullable=False, comment="The tenant the steps belong to."),
        sa.Column(
            "period",
            sa.Text,
            nullable=False,
            comment="How long the bucket is: hour in UTC; day, week (ISO, from Monday) or month in the"
            " organization's time zone.",
        ),
        _time("period_start", "Inclusive start of the bucket the steps ended in.", nullable=False),
        sa.Column(
            "workflow_id",
            sa.Uuid,
            nullable=False,
            comment=f"The workflow, or {ALL_WORKFLOWS} for all workflows together.",
        ),
        sa.Column(
            "step_name", sa.Text, nullable=False, comment="The step, by its name: the first 200 characters."
        ),
        sa.Column(
            "total_executions",
            sa.BigInteger,
            nullable=False,
            comment="Steps counted in this row, whatever their outcome.",
        ),
        sa.Column(
            "completed_executions",
            sa.BigInteger,
            nullable=False,
            comment="Steps among them that ended with a line of TRACE, DEBUG or INFO.",
        ),
        sa.Column(
            "warned_executions",
            sa.BigInteger,
            nullable=False,
            comment="Steps among them that ended with a line of WARN.",
        ),
        sa.Column(
            "failed_executions",
            sa.BigInteger,
            nullable=False,
            comment="Steps among them that ended with a line of ERROR or FATAL.",
        ),
        sa.Column(
            "timed_executions",
            sa.BigInteger,
            nullable=False,
            comment="Steps among them with an honest duration (given, not negative): the n behind every"
            " duration here.",
        ),
        sa.Column(
            "total_duration_ms",
            sa.Double,
            nullable=False,
            comment="Milliseconds that the timed steps took together; 0 when there is none.",
        ),
        sa.Column(
            "average_duration_ms",
            sa.Double,
            comment="Mean duration in milliseconds; NULL when no step is timed.",
        ),
        sa.Column(
            "min_duration_ms",
            sa.Double,
            comment="Shortest duration in milliseconds; NULL when no step is timed.",
        ),
        sa.Column(
            "max_duration_ms",
            sa.Double,
            comment="Longest duration in milliseconds; NULL when no step is timed.",
        ),
        sa.Column(
            "median_duration_ms",
            sa.Double,
            comment="Median duration in milliseconds, interpolated like percentile_cont; NULL when no step"
            " is timed.",
        ),
        sa.Column(
            "p90_duration_ms",
            sa.Double,
            comment="Milliseconds within which 90 percent of the steps ended, interpolated; NULL when no"
            " step is timed.",
        ),
        sa.Column(
            "p95_duration_ms",
            sa.Double,
            comment="Milliseconds within which 95 percent of the steps ended, interpolated; NULL when no"
            " step is timed.",
        ),
        sa.Column(
            "p99_duration_ms",
            sa.Double,
            comment="Milliseconds within which 99 percent of the steps ended, interpolated; NULL when no"
            " step is timed.",
        ),
        _time("computed_at", "When this row last changed.", nullable=False),
        sa.Column(
            "definition_version",
            sa.Integer,
            nullable=False,
            comment="By which definition the figures were computed; 0 is before definitions were counted.",
        ),
        sa.Column(
            "histogram_buckets",
            postgresql.ARRAY(sa.SmallInteger),
            comment="For hours and days with more than two timed steps: which buckets of durations have"
            " any; bucket b is up to 1.02^b microseconds, -1 is no time at all.",
        ),
        sa.Column(
            "histogram_counts",
            postgresql.ARRAY(sa.Integer),
            comment="How many timed steps are in each of histogram_buckets.",
        ),
        sa.CheckConstraint(
            "cardinality(histogram_buckets) = cardinality(histogram_counts) AND"
            " num_nulls(histogram_buckets, histogram_counts) IN (0, 2) AND (histogram_buckets IS NULL OR"
            " period IN ('hour', 'day') AND timed_executions > 2)",
            name=op.f("aggregate_step_metrics_histogram_is_whole"),
        ),
        sa.CheckConstraint(
            "period IN ('day', 'hour', 'month', 'week')", name=op.f("aggregate_step_metrics_period_is_known")
        ),
        sa.CheckConstraint("step_name <> ''", name=op.f("aggregate_step_metrics_step_has_a_name")),
        sa.CheckConstraint(
            "total_duration_ms >= 0 AND total_duration_ms < 'Infinity' AND average_duration_ms >= 0 AND"
            " average_duration_ms < 'Infinity' AND max_duration_ms < 'Infinity'",
            name=op.f("aggregate_step_metrics_durations_are_numbers"),
        ),
        sa.CheckConstraint(
            "completed_executions >= 0 AND warned_executions >= 0 AND failed_executions >= 0 AND"
            " timed_executions >= 0",
            name=op.f("aggregate_step_metrics_counts_are_not_negative"),
        ),
        sa.CheckConstraint(
            "min_duration_ms >= 0 AND min_duration_ms <= median_duration_ms AND median_duration_ms <="
            " p90_duration_ms AND p90_duration_ms <= p95_duration_ms AND p95_duration_ms <="
            " p99_duration_ms AND p99_duration_ms <= max_duration_ms",
            name=op.f("aggregate_step_metrics_durations_are_in_order"),
        ),
        sa.CheckConstraint(
            "num_nulls(average_duration_ms, min_duration_ms, max_duration_ms, median_duration_ms,"
            " p90_duration_ms, p95_duration_ms, p99_duration_ms) = CASE WHEN timed_executions = 0 THEN 7"
            " ELSE 0 END",
            name=op.f("aggregate_step_metrics_durations_are_null_when_none_is_timed"),
        ),
        sa.CheckConstraint(
            "timed_executions <= total_executions",
            name=op.f("aggregate_step_metrics_timed_are_among_the_counted"),
        ),
        sa.CheckConstraint(
            "timed_executions > 0 OR total_duration_ms = 0",
            name=op.f("aggregate_step_metrics_total_is_zero_when_none_is_timed"),
        ),
        sa.CheckConstraint(
            "total_executions = completed_executions + warned_executions + failed_executions",
            name=op.f("aggregate_step_metrics_total_is_the_sum_of_the_outcomes"),
        ),
        sa.CheckConstraint(
            "total_executions >= 1", name=op.f("aggregate_step_metrics_counts_at_least_one_step")
        ),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "period",
            "period_start",
            "workflow_id",
            "step_name",
            name=op.f("aggregate_step_metrics_primary_key"),
        ),
        schema=SCHEMA,
        comment="How the steps of a tenant's executions ended and how long they took, per period, step and"
        " workflow. A step is a line of execution_logs that names one; soft-deleted jobs have none.",
    )
    op.create_table(
        "step_completeness",
        sa.Column(
            "organization_id",
            sa.Uuid,
            nullable=False,
            comment="The tenant whose step metrics were published.",
        ),
        sa.Column(
            "horizon",
            sa.BigInteger,
            nullable=False,
            comment="64-bit transaction id of the source below which every transaction had ended: the next"
            " run reads the rows written at or after it.",
        ),
        sa.Column(
            "incarnation",
            sa.Text,
            nullable=False,
            comment="Which server, history, database and table was read; another one is read in full.",
        ),
        _time(
            "extracted_at",
            "When the source was last read for it, by the source's clock: every step written down before"
            " is in the metrics.",
            nullable=False,
        ),
        sa.Column(
            "facts_table_id",
            sa.Uuid,
            nullable=False,
            comment="Which step_facts table they were computed from; another table counts its versions anew.",
        ),
        sa.Column(
            "published_version",
            sa.BigInteger,
            nullable=False,
            comment="The version of that table they agree with.",
        ),
        _time("published_at", "When they were last published.", nullable=False),
        sa.Column(
            "definition_version",
            sa.Integer,
            nullable=False,
            comment="By which definition the figures were computed; 0 is before definitions were counted.",
        ),
        sa.Column(
            "time_zone",
            sa.Text,
            nullable=False,
            comment="The zone in which its days, weeks and months begin.",
        ),
        sa.Column(
            "zone_offsets",
            sa.Text,
            nullable=False,
            comment="MD5 of the zone's rules as the source had them; others restate days, weeks and months.",
        ),
        sa.Column("run_id", sa.Uuid, nullable=False, comment="The run that published them."),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("step_completeness_primary_key")),
        schema=SCHEMA,
        comment="How complete each organization's step metrics are, moved in the transaction that"
        " publishes them.",
    )

    for table in TABLES:
        op.execute(f"ALTER TABLE {SCHEMA}.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {SCHEMA}.{table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenants_read_their_own ON {SCHEMA}.{table}"
            f" FOR SELECT USING (organization_id = {ASKING})"
        )
        op.execute(
            f"CREATE POLICY writers_write_all ON {SCHEMA}.{table} USING ({WRITES}) WITH CHECK ({WRITES})"
        )


def downgrade() -> None:
    """Drop both; the next refresh after walking up again computes all of it anew."""
    for table in reversed(TABLES):
        op.drop_table(table, schema=SCHEMA)


def _time(name: str, comment: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **options)
