"""The tables of the analytics schema as the migrations leave them."""

from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from pipelines.postgres.tables.columns import analytics_metadata, listed, time
from pipelines.subjects.dimensions import (
    ALL_CLIENTS,
    ALL_INITIATORS,
    ALL_WORKFLOWS,
    NO_CLIENT,
    UNKNOWN_INITIATOR,
)
from pipelines.subjects.measures import COUNT_COLUMNS, FIGURE_COLUMNS, KEY_COLUMNS
from pipelines.subjects.outcomes import Outcome, OutcomeOf
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import Restated


def _figure(name: str, comment: str, **options: Any) -> Column[Any]:
    return Column(name, Double, comment=comment, **options)


def _count(name: str, comment: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False, comment=comment)


def _definition_version() -> Column[Any]:
    return Column(
        "definition_version",
        Integer,
        nullable=False,
        comment="By which definition the figures were computed; 0 is before definitions were counted.",
    )


def _durations_in_order(
    zero: str = "total_duration_is_zero_when_none_is_timed",
) -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint(
            "num_nulls(average_duration_ms, min_duration_ms, max_duration_ms, median_duration_ms,"
            " p90_duration_ms, p95_duration_ms, p99_duration_ms)"
            " = CASE WHEN timed_executions = 0 THEN 7 ELSE 0 END",
            name="durations_are_null_when_none_is_timed",
        ),
        CheckConstraint("timed_executions > 0 OR total_duration_ms = 0", name=zero),
        CheckConstraint(
            "min_duration_ms >= 0 AND min_duration_ms <= median_duration_ms"
            " AND median_duration_ms <= p90_duration_ms AND p90_duration_ms <= p95_duration_ms"
            " AND p95_duration_ms <= p99_duration_ms AND p99_duration_ms <= max_duration_ms",
            name="durations_are_in_order",
        ),
        CheckConstraint(
            "total_duration_ms >= 0 AND total_duration_ms < 'Infinity'"
            " AND average_duration_ms >= 0 AND average_duration_ms < 'Infinity'"
            " AND max_duration_ms < 'Infinity'",
            name="durations_are_numbers",
        ),
    )


def _durations(what: str) -> tuple[Column[Any], ...]:
    untimed = f"NULL when no {what} is timed."
    within = f"percent of the {what}s ended, interpolated; {untimed}"
    return (
        _figure("average_duration_ms", f"Mean duration in milliseconds; {untimed}"),
        _figure("min_duration_ms", f"Shortest duration in milliseconds; {untimed}"),
        _figure("max_duration_ms", f"Longest duration in milliseconds; {untimed}"),
        _figure(
            "median_duration_ms",
            f"Median duration in milliseconds, interpolated like percentile_cont; {untimed}",
        ),
        *(_figure(f"p{p}_duration_ms", f"Milliseconds within which {p} {within}") for p in (90, 95, 99)),
    )


def _histogram(what: str) -> tuple[Column[Any], ...]:
    return (
        Column(
            "histogram_buckets",
            ARRAY(SmallInteger),
            comment=f"For hours and days with more than two timed {what}s: which buckets of durations have"
            " any; bucket b is up to 1.02^b microseconds, -1 is no time at all.",
        ),
        Column(
            "histogram_counts",
            ARRAY(Integer),
            comment=f"How many timed {what}s are in each of histogram_buckets.",
        ),
    )


def _histogram_is_whole() -> CheckConstraint:
    return CheckConstraint(
        "cardinality(histogram_buckets) = cardinality(histogram_counts)"
        " AND num_nulls(histogram_buckets, histogram_counts) IN (0, 2)"
        " AND (histogram_buckets IS NULL OR period IN ('hour', 'day') AND timed_executions > 2)",
        name="histogram_is_whole",
    )


# In the documented order, which costs at most eleven bytes of padding a row.
aggregate_metrics: Final = Table(
    "aggregate_metrics",
    analytics_metadata,
    Column("organization_id", Uuid, nullable=False, comment="The tenant the jobs belong to."),
    Column(
        "period",
        Text,
        nullable=False,
        comment="How long the bucket is: hour in UTC; day, week (ISO, from Monday) or month in the"
        " organization's time zone.",
    ),
    time(
        "period_start",
        "Inclusive start of the bucket the jobs completed in.",
        nullable=False,
    ),
    Column(
        "workflow_id",
        Uuid,
        nullable=False,
        comment=f"The workflow, or {ALL_WORKFLOWS} for all workflows together.",
    ),
    Column(
        "client_id",
        Uuid,
        nullable=False,
        comment=f"The client, or {ALL_CLIENTS} for all clients together,"
        f" or {NO_CLIENT} for the jobs without a client.",
    ),
    Column(
        "initiator_type",
        Text,
        nullable=False,
        comment=f"The initiator type, or '{ALL_INITIATORS}' for all together,"
        f" or '{UNKNOWN_INITIATOR}' for the jobs that name none.",
    ),
    _count("total_executions", "Jobs counted in this row: completed and failed ones."),
    _count("completed_executions", "Jobs among them that ended COMPLETED."),
    _count("failed_executions", "Jobs among them that ended FAILED."),
    _count(
        "timed_executions",
        "Jobs among them with an honest duration (not negative): the n behind every duration here.",
    ),
    _figure("success_rate_pct", "Percent: 100 x completed_executions / total_executions.", nullable=False),
    _figure(
        "total_duration_ms",
        "Milliseconds from start to completion, summed over the timed jobs; 0 when there is none.",
        nullable=False,
    ),
    *_durations("job"),
    time("computed_at", "When this row last changed.", nullable=False),
    _definition_version(),
    *_histogram("job"),
    PrimaryKeyConstraint(
        "organization_id", "period", "period_start", "workflow_id", "client_id", "initiator_type"
    ),
    CheckConstraint(f"period IN ({listed(Period)})", name="period_is_known"),
    CheckConstraint(
        "completed_executions >= 0 AND failed_executions >= 0 AND timed_executions >= 0",
        name="counts_are_not_negative",
    ),
    CheckConstraint(
        "total_executions = completed_executions + failed_executions",
        name="total_is_completed_plus_failed",
    ),
    CheckConstraint("total_executions >= 1", name="counts_at_least_one_job"),
    CheckConstraint("timed_executions <= total_executions", name="timed_are_among_the_counted"),
    CheckConstraint("success_rate_pct >= 0 AND success_rate_pct <= 100", name="success_rate_is_a_percentage"),
    *_durations_in_order(),
    _histogram_is_whole(),
    comment="How a tenant's jobs ended and how long they took, per period and dimension: what dashboards"
    " read. One row per combination that has jobs; a dimension that is not broken down holds its"
    " 'all' value, so filter on every dimension and never add rows of different kinds.",
)

# In the documented order.
aggregate_step_metrics: Final = Table(
    "aggregate_step_metrics",
    analytics_metadata,
    Column("organization_id", Uuid, nullable=False, comment="The tenant the steps belong to."),
    Column(
        "period",
        Text,
        nullable=False,
        comment="How long the bucket is: hour in UTC; day, week (ISO, from Monday) or month in the"
        " organization's time zone.",
    ),
    time("period_start", "Inclusive start of the bucket the steps ended in.", nullable=False),
    Column(
        "workflow_id",
        Uuid,
        nullable=False,
        comment=f"The workflow, or {ALL_WORKFLOWS} for all workflows together.",
    ),
    Column("step_name", Text, nullable=False, comment="The step, by its name: the first 200 characters."),
    _count("total_executions", "Steps counted in this row, whatever their outcome."),
    _count("completed_executions", "Steps among them that ended with a line of TRACE, DEBUG or INFO."),
    _count("warned_executions", "Steps among them that ended with a line of WARN."),
    _count("failed_executions", "Steps among them that ended with a line of ERROR or FATAL."),
    _count(
        "timed_executions",
        "Steps among them with an honest duration (given, not negative): the n behind every duration here.",
    ),
    _figure(
        "total_duration_ms",
        "Milliseconds that the timed steps took together; 0 when there is none.",
        nullable=False,
    ),
    *_durations("step"),
    time("computed_at", "When this row last changed.", nullable=False),
    _definition_version(),
    *_histogram("step"),
    PrimaryKeyConstraint("organization_id", "period", "period_start", "workflow_id", "step_name"),
    CheckConstraint(f"period IN ({listed(Period)})", name="period_is_known"),
    CheckConstraint(
        "completed_executions >= 0 AND warned_executions >= 0 AND failed_executions >= 0"
        " AND timed_executions >= 0",
        name="counts_are_not_negative",
    ),
    CheckConstraint(
        "total_executions = completed_executions + warned_executions + failed_executions",
        name="total_is_the_sum_of_the_outcomes",
    ),
    CheckConstraint("total_executions >= 1", name="counts_at_least_one_step"),
    CheckConstraint("timed_executions <= total_executions", name="timed_are_among_the_counted"),
    CheckConstraint("step_name <> ''", name="step_has_a_name"),
    *_durations_in_order("total_is_zero_when_none_is_timed"),
    _histogram_is_whole(),
    comment="How the steps of a tenant's executions ended and how long they took, per period, step and"
    " workflow. A step is a line of execution_logs that names one; soft-deleted jobs have none.",
)

step_completeness: Final = Table(
    "step_completeness",
    analytics_metadata,
    Column("organization_id", Uuid, nullable=False, comment="The tenant whose step metrics were published."),
    Column(
        "horizon",
        BigInteger,
        nullable=False,
        comment="64-bit transaction id of the source below which every transaction had ended:"
        " the next run reads the rows written at or after it.",
    ),
    Column(
        "incarnation",
        Text,
        nullable=False,
        comment="Which server, history, database and table was read; another one is read in full.",
    ),
    time(
        "extracted_at",
        "When the source was last read for it, by the source's clock: every step written down before is in"
        " the metrics.",
        nullable=False,
    ),
    Column(
        "facts_table_id",
        Uuid,
        nullable=False,
        comment="Which step_facts table they were computed from; another table counts its versions anew.",
    ),
    _count("published_version", "The version of that table they agree with."),
    time("published_at", "When they were last published.", nullable=False),
    _definition_version(),
    Column("time_zone", Text, nullable=False, comment="The zone in which its days, weeks and months begin."),
    Column(
        "zone_offsets",
        Text,
        nullable=False,
        comment="MD5 of the zone's rules as the source had them; others restate days, weeks and months.",
    ),
    Column("run_id", Uuid, nullable=False, comment="The run that published them."),
    time("withheld_at", "Since when deletes are withheld because they are too many; NULL for none."),
    Column("withheld_steps", BigInteger, comment="How many steps they would take away; NULL for none."),
    Column(
        "withheld_ended_since",
        Date,
        comment="The first day of ending that was looked at when they were found; NULL for all.",
    ),
    PrimaryKeyConstraint("organization_id"),
    comment="How complete each organization's step metrics are, moved in the transaction that publishes"
    " them.",
)

organizations: Final = Table(
    "organizations",
    analytics_metadata,
    Column("id", Uuid, nullable=False, comment="The organization."),
    Column("name", Text, comment="Its name in the source."),
    Column(
        "time_zone",
        Text,
        nullable=False,
        server_default=text("'UTC'"),
        comment="IANA name of the zone in which its days, weeks and months begin.",
    ),
    time("deleted_at", "When it was soft-deleted in the source; NULL while it is in use."),
    PrimaryKeyConstraint("id"),
    comment="Names of the organizations, copied from the source with the metrics they explain.",
)


def _names_of(table: str, what: str) -> Table:
    return Table(
        table,
        analytics_metadata,
        Column("id", Uuid, nullable=False, comment=f"The {what}."),
        Column("organization_id", Uuid, nullable=False, comment=f"The tenant that owns the {what}."),
        Column("name", Text, comment="Its name in the source."),
        time("deleted_at", "When it was soft-deleted in the source; NULL while it is in use."),
        PrimaryKeyConstraint("id"),
        Index(None, "organization_id"),
        comment=f"Names of the {what}s, copied from the source with the metrics they explain.",
    )


workflows: Final = _names_of("workflows", "workflow")
clients: Final = _names_of("clients", "client")

extraction_cursors: Final = Table(
    "extraction_cursors",
    analytics_metadata,
    Column("organization_id", Uuid, nullable=False, comment="The tenant whose jobs were read."),
    Column(
        "horizon",
        BigInteger,
        nullable=False,
        comment="64-bit transaction id of the source below which every transaction had ended:"
        " the next run reads the rows written at or after it.",
    ),
    Column(
        "incarnation",
        Text,
        nullable=False,
        comment="Which server, history, database and table was read; another one is read in full.",
    ),
    time("swept_at", "When every row was last looked at, by the source's clock.", nullable=False),
    PrimaryKeyConstraint("organization_id"),
    comment="How far each organization's jobs have been read from the source.",
)

completeness: Final = Table(
    "completeness",
    analytics_metadata,
    Column("organization_id", Uuid, nullable=False, comment="The tenant whose metrics were published."),
    time(
        "complete_through",
        "Every job that had completed and been written down before this time is in the metrics:"
        " an hour before it without a row had no jobs.",
        nullable=False,
    ),
    time("extracted_at", "When the source was last read for it, by the source's clock.", nullable=False),
    Column(
        "facts_table_id",
        Uuid,
        nullable=False,
        comment="Which job_facts table they were computed from; another table counts its versions anew.",
    ),
    _count("published_version", "The version of that table they agree with."),
    time("published_at", "When they were last published.", nullable=False),
    _definition_version(),
    Column("time_zone", Text, nullable=False, comment="The zone in which its days, weeks and months begin."),
    Column(
        "zone_offsets",
        Text,
        nullable=False,
        comment="MD5 of the zone's rules as the source had them; others restate days, weeks and months.",
    ),
    Column(
        "rebuilding_version", Integer, comment="The definition that is being computed anew; NULL for none."
    ),
    time("rebuilt_before", "Cells that begin before this are of it already; NULL for none."),
    Column("run_id", Uuid, comment="The run that published them."),
    time("verified_at", "When they were last found equal to plain SQL on the source; NULL for never."),
    time("audited_at", "When they were last compared with it, whatever came out; NULL for never."),
    time("withheld_at", "Since when deletes are withheld because they are too many; NULL for none."),
    Column("withheld_jobs", BigInteger, comment="How many jobs they would take away; NULL for none."),
    Column(
        "withheld_created_since",
        Date,
        comment="The first day of creation that was looked at when they were found; NULL for all.",
    ),
    Column(
        "edition",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="How often rows were written or removed without a publication: by a repair, a rebuild or"
        " retention. With published_at it names one state of the metrics.",
    ),
    PrimaryKeyConstraint("organization_id"),
    comment="How complete each organization's metrics are, moved in the transaction that publishes them.",
)

time_zone_offsets: Final = Table(
    "time_zone_offsets",
    analytics_metadata,
    Column("time_zone", Text, nullable=False, comment="IANA name of the zone."),
    time(
        "since", "From when on the offset holds; the first one of a zone holds before, too.", nullable=False
    ),
    Column("offset_s", Integer, nullable=False, comment="Seconds that local time is ahead of UTC."),
    PrimaryKeyConstraint("time_zone", "since"),
    comment="The rules of the zones in use, as the source's PostgreSQL has them: days, weeks and months begin"
    " by these, whatever another server's rules say.",
)

metric_definitions: Final = Table(
    "metric_definitions",
    analytics_metadata,
    Column(
        "definition_version",
        Integer,
        # Given out by us: a sequence would skip numbers.
        autoincrement=False,
        nullable=False,
        comment="The number that rows of metrics carry.",
    ),
    Column(
        "definition",
        Text,
        nullable=False,
        comment="What is computed: the figures, and the combinations of dimensions that are stored.",
    ),
    time("first_used_at", "When it was first computed by this definition.", nullable=False),
    PrimaryKeyConstraint("definition_version"),
    UniqueConstraint("definition"),
    comment="The definitions by which metrics were ever computed; a new one computes every row anew.",
)

refresh_outcomes: Final = Table(
    "refresh_outcomes",
    analytics_metadata,
    Column("run_id", Uuid, nullable=False, comment="The run."),
    Column("organization_id", Uuid, nullable=False, comment="The tenant."),
    Column("outcome", Text, nullable=False, comment="published, or failed."),
    Column("error_class", Text, comment="The kind of failure, never its words; NULL when published."),
    time("finished_at", "When it was settled.", nullable=False),
    _count("milliseconds", "How long the last attempt of its batch took."),
    Column(
        "subject", Text, nullable=False, comment="What of the tenant was to be published: jobs, or steps."
    ),
    PrimaryKeyConstraint("run_id", "organization_id"),
    CheckConstraint(f"outcome IN ({listed(Outcome)})", name="outcome_is_known"),
    CheckConstraint("(outcome = 'failed') = (error_class IS NOT NULL)", name="failures_have_a_class"),
    CheckConstraint(f"subject IN ({listed(OutcomeOf)})", name="subject_is_known"),
    Index(None, "organization_id", "subject", "finished_at"),
    comment="What became of each organization in each run.",
)


def _restated(prefix: str, when: str) -> list[Column[Any]]:
    comment = f"{when}; NULL where there was no cell, or no such figure."
    return [
        Column(f"{prefix}_{name}", BigInteger if name in COUNT_COLUMNS else Double, comment=comment)
        for name in FIGURE_COLUMNS
    ]


restatements: Final = Table(
    "restatements",
    analytics_metadata,
    Column("organization_id", Uuid, nullable=False, comment="The tenant."),
    Column("period", Text, nullable=False, comment="The period of the cell."),
    time("period_start", "The start of its bucket.", nullable=False),
    Column("workflow_id", Uuid, nullable=False, comment="Its workflow, or all."),
    Column("client_id", Uuid, nullable=False, comment="Its client, all, or none."),
    Column("initiator_type", Text, nullable=False, comment="Its initiator type, all, or unknown."),
    Column(
        "reason",
        Text,
        nullable=False,
        comment="late, edited, retried, deleted: what became of jobs; time_zone, definition: of rules;"
        " backfill: found by reading a range again; drift: the stored figures were not ours.",
    ),
    Column("run_id", Uuid, nullable=False, comment="The run that wrote the new figures."),
    time("restated_at", "When they were written.", nullable=False),
    *_restated("old", "Before"),
    *_restated("new", "After"),
    time("old_computed_at", "Since when the figures before stood; NULL where there was no cell."),
    PrimaryKeyConstraint(*KEY_COLUMNS, "run_id"),
    CheckConstraint(f"reason IN ({listed(Restated)})", name="reason_is_known"),
    CheckConstraint(
        "num_nonnulls(old_total_executions, new_total_executions) > 0", name="something_was_restated"
    ),
    Index(None, "restated_at"),
    comment="Cells that changed after their period had been published: figures before and after, and why.",
)

retention: Final = Table(
    "retention",
    analytics_metadata,
    Column(
        "period", Text, nullable=False, comment="The period whose old cells were removed, or restatements."
    ),
    time(
        "removed_before",
        "Cells that begin before this, or restatements from before, are gone.",
        nullable=False,
    ),
    PrimaryKeyConstraint("period"),
    comment="What a retention setting has removed: it is neither written again nor missed by verify.",
)

job_anomalies: Final = Table(
    "job_anomalies",
    analytics_metadata,
    Column("job_id", Uuid, nullable=False, comment="The job in the source."),
    Column("organization_id", Uuid, nullable=False, comment="The tenant that owns the job."),
    Column(
        "reason",
        Text,
        nullable=False,
        comment="What is wrong with it, such as negative_duration or missing_timestamp.",
    ),
    Column(
        "effect",
        Text,
        nullable=False,
        comment="not_counted: the job is in no metric; not_timed: it is counted, without its duration.",
    ),
    Column(
        "detail",
        Text,
        nullable=False,
        server_default=text("''"),
        comment="What was seen, in times and ids; never payload or free text.",
    ),
    time("first_seen_at", "When it was first listed.", nullable=False),
    time("last_seen_at", "When it was last found to be still so.", nullable=False),
    PrimaryKeyConstraint("job_id", "reason"),
    CheckConstraint("effect IN ('not_counted', 'not_timed')", name="effect_is_known"),
    Index(None, "organization_id"),
    comment="Source rows that could not be taken at face value. A row leaves the list when the source is"
    " repaired or its time has come.",
)
