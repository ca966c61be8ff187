"""Every restated figure, every run's outcome and how complete each organization is are on record."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "analytics_0002"
down_revision = "analytics_0001"
branch_labels = None
depends_on = None

SCHEMA = "analytics"

COUNTS = ("total_executions", "completed_executions", "failed_executions", "timed_executions")
FIGURES = (
    "success_rate_pct",
    "total_duration_ms",
    "average_duration_ms",
    "min_duration_ms",
    "max_duration_ms",
    "median_duration_ms",
    "p90_duration_ms",
    "p95_duration_ms",
    "p99_duration_ms",
)
COMMENTS = {
    ("aggregate_metrics", "period"): (
        "How long the bucket is: hour, day, week (ISO, from Monday) or month, all in UTC.",
        "How long the bucket is: hour in UTC; day, week (ISO, from Monday) or month in the organization's"
        " time zone.",
    ),
    ("organizations", "time_zone"): (
        "IANA name of the zone the organization lives in; the buckets are UTC all the same.",
        "IANA name of the zone in which its days, weeks and months begin.",
    ),
}


def upgrade() -> None:
    """Keep what was published; figures of before are marked as of definition 0, and computed anew."""
    _create_metric_definitions()
    _create_completeness()
    _create_time_zone_offsets()
    _create_refresh_outcomes()
    _create_restatements()
    _create_retention()
    op.add_column("aggregate_metrics", _definition_version(server_default="0"), schema=SCHEMA)
    op.alter_column("aggregate_metrics", "definition_version", server_default=None, schema=SCHEMA)
    op.execute(f"""
        INSERT INTO {SCHEMA}.completeness (
            organization_id, complete_through, extracted_at, facts_table_id, published_version, published_at,
            definition_version, time_zone, zone_offsets
        )
        SELECT
            p.organization_id, c.extracted_at, c.extracted_at, p.facts_table_id, p.facts_version,
            p.published_at, 0, 'UTC', ''
        FROM {SCHEMA}.published_facts AS p INNER JOIN {SCHEMA}.extraction_cursors AS c USING (organization_id)
        """)
    op.drop_table("published_facts", schema=SCHEMA)
    op.alter_column(
        "extraction_cursors",
        "extracted_at",
        new_column_name="swept_at",
        comment="When every row was last looked at, by the source's clock.",
        schema=SCHEMA,
    )
    for (table, column), (_, comment) in COMMENTS.items():
        op.alter_column(table, column, comment=comment, schema=SCHEMA)


def downgrade() -> None:
    """Forget outcomes and restatements; the metrics stay, and are UTC again after the next full refresh."""
    for (table, column), (comment, _) in COMMENTS.items():
        op.alter_column(table, column, comment=comment, schema=SCHEMA)
    op.alter_column(
        "extraction_cursors",
        "swept_at",
        new_column_name="extracted_at",
        comment="When it was read, by the source's clock.",
        schema=SCHEMA,
    )
    _create_published_facts()
    op.execute(f"""
        INSERT INTO {SCHEMA}.published_facts (organization_id, facts_table_id, facts_version, published_at)
        SELECT organization_id, facts_table_id, published_version, published_at FROM {SCHEMA}.completeness
        """)
    op.drop_column("aggregate_metrics", "definition_version", schema=SCHEMA)
    for table in (
        "retention",
        "restatements",
        "refresh_outcomes",
        "time_zone_offsets",
        "completeness",
        "metric_definitions",
    ):
        op.drop_table(table, schema=SCHEMA)


def _create_metric_definitions() -> None:
    op.create_table(
        "metric_definitions",
        sa.Column(
            "definition_version",
            sa.Integer,
            autoincrement=False,
            nullable=False,
            comment="The number that rows of metrics carry.",
        ),
        sa.Column(
            "definition",
            sa.Text,
            nullable=False,
            comment="What is computed: the figures, and the combinations of dimensions that are stored.",
        ),
        _time("first_used_at", "When it was first computed by this definition.", nullable=False),
        sa.PrimaryKeyConstraint("definition_version", name="metric_definitions_primary_key"),
        sa.UniqueConstraint("definition", name="metric_definitions_unique_by_definition"),
        schema=SCHEMA,
        comment="The definitions by which metrics were ever computed; a new one computes every row anew.",
    )


def _create_completeness() -> None:
    op.create_table(
        "completeness",
        _organization("The tenant whose metrics were published."),
        _time(
            "complete_through",
            "Every job that had completed and been written down before this time is in the metrics:"
            " an hour before it without a row had no jobs.",
            nullable=False,
        ),
        _time("extracted_at", "When the source was last read for it, by the source's clock.", nullable=False),
        sa.Column(
            "facts_table_id",
            sa.Uuid,
            nullable=False,
            comment="Which job_facts table they were computed from; another table counts its versions anew.",
        ),
        _count("published_version", "The version of that table they agree with."),
        _time("published_at", "When they were last published.", nullable=False),
        _definition_version(),
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
        sa.Column(
            "rebuilding_version",
            sa.Integer,
            comment="The definition that is being computed anew; NULL for none.",
        ),
        _time("rebuilt_before", "Cells that begin before this are of it already; NULL for none."),
        sa.Column("run_id", sa.Uuid, comment="The run that published them."),
        _time("verified_at", "When they were last found equal to plain SQL on the source; NULL for never."),
        sa.PrimaryKeyConstraint("organization_id", name="completeness_primary_key"),
        schema=SCHEMA,
        comment="How complete each organization's metrics are, moved in the transaction that publishes them.",
    )


def _create_time_zone_offsets() -> None:
    op.create_table(
        "time_zone_offsets",
        sa.Column("time_zone", sa.Text, nullable=False, comment="IANA name of the zone."),
        _time(
            "since",
            "From when on the offset holds; the first one of a zone holds before, too.",
            nullable=False,
        ),
        sa.Column("offset_s", sa.Integer, nullable=False, comment="Seconds that local time is ahead of UTC."),
        sa.PrimaryKeyConstraint("time_zone", "since", name="time_zone_offsets_primary_key"),
        schema=SCHEMA,
        comment="The rules of the zones in use, as the source's PostgreSQL has them: days, weeks and months"
        " begin by these, whatever another server's rules say.",
    )


def _create_refresh_outcomes() -> None:
    op.create_table(
        "refresh_outcomes",
        sa.Column("run_id", sa.Uuid, nullable=False, comment="The run."),
        _organization("The tenant."),
        sa.Column("outcome", sa.Text, nullable=False, comment="published, or failed."),
        sa.Column(
            "error_class", sa.Text, comment="The kind of failure, never its words; NULL when published."
        ),
        _time("finished_at", "When it was settled.", nullable=False),
        _count("milliseconds", "How long the last attempt of its batch took."),
        sa.PrimaryKeyConstraint("run_id", "organization_id", name="refresh_outcomes_primary_key"),
        sa.CheckConstraint(
            "outcome IN ('failed', 'published')", name=op.f("refresh_outcomes_outcome_is_known")
        ),
        sa.CheckConstraint(
            "(outcome = 'failed') = (error_class IS NOT NULL)",
            name=op.f("refresh_outcomes_failures_have_a_class"),
        ),
        schema=SCHEMA,
        comment="What became of each organization in each run.",
    )
    op.create_index(
        "refresh_outcomes_by_organization_id_finished_at",
        "refresh_outcomes",
        ["organization_id", "finished_at"],
        schema=SCHEMA,
    )


def _create_restatements() -> None:
    op.create_table(
        "restatements",
        _organization("The tenant."),
        sa.Column("period", sa.Text, nullable=False, comment="The period of the cell."),
        _time("period_start", "The start of its bucket.", nullable=False),
        sa.Column("workflow_id", sa.Uuid, nullable=False, comment="Its workflow, or all."),
        sa.Column("client_id", sa.Uuid, nullable=False, comment="Its client, all, or none."),
        sa.Column("initiator_type", sa.Text, nullable=False, comment="Its initiator type, all, or unknown."),
        sa.Column(
            "reason",
            sa.Text,
            nullable=False,
            comment="late, edited, retried, deleted: what became of jobs; time_zone, definition: of rules;"
            " backfill: found by reading a range again; drift: the stored figures were not ours.",
        ),
        sa.Column("run_id", sa.Uuid, nullable=False, comment="The run that wrote the new figures."),
        _time("restated_at", "When they were written.", nullable=False),
        *_restated("old", "Before"),
        *_restated("new", "After"),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "period",
            "period_start",
            "workflow_id",
            "client_id",
            "initiator_type",
            "run_id",
            name="restatements_primary_key",
        ),
        sa.CheckConstraint(
            "reason IN ('backfill', 'definition', 'deleted', 'drift', 'edited', 'late', 'retried',"
            " 'time_zone')",
            name=op.f("restatements_reason_is_known"),
        ),
        sa.CheckConstraint(
            "num_nonnulls(old_total_executions, new_total_executions) > 0",
            name=op.f("restatements_something_was_restated"),
        ),
        schema=SCHEMA,
        comment="Cells that changed after their period had been published: figures before and after,"
        " and why.",
    )
    op.create_index("restatements_by_restated_at", "restatements", ["restated_at"], schema=SCHEMA)


def _restated(prefix: str, when: str) -> tuple[sa.Column[Any], ...]:
    comment = f"{when}; NULL where there was no cell, or no such figure."
    return (
        *(sa.Column(f"{prefix}_{name}", sa.BigInteger, comment=comment) for name in COUNTS),
        *(sa.Column(f"{prefix}_{name}", sa.Double, comment=comment) for name in FIGURES),
    )


def _create_retention() -> None:
    op.create_table(
        "retention",
        sa.Column(
            "period",
            sa.Text,
            nullable=False,
            comment="The period whose old cells were removed, or restatements.",
        ),
        _time(
            "removed_before",
            "Cells that begin before this, or restatements from before, are gone.",
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("period", name="retention_primary_key"),
        schema=SCHEMA,
        comment="What a retention setting has removed: it is neither written again nor missed by verify.",
    )


def _create_published_facts() -> None:
    op.create_table(
        "published_facts",
        _organization("The tenant whose metrics were published."),
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


def _organization(comment: str) -> sa.Column[Any]:
    return sa.Column("organization_id", sa.Uuid, nullable=False, comment=comment)


def _definition_version(**options: Any) -> sa.Column[Any]:
    return sa.Column(
        "definition_version",
        sa.Integer,
        nullable=False,
        comment="By which definition the figures were computed; 0 is before definitions were counted.",
        **options,
    )


def _time(name: str, comment: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **options)


def _count(name: str, comment: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=False, comment=comment)
