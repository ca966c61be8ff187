"""The tables of the analytics schema as the migrations leave them."""

from itertools import pairwise
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
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipelines.postgres.tables.columns import analytics_metadata, listed, time
from pipelines.subjects import SUBJECTS
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.measures import TIMED, Kind, Measure
from pipelines.subjects.restatements import Outcome, Restated
from pipelines.subjects.rollup import Period
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import HISTOGRAM, Subject

_ARRAYS: Final = {"smallint[]": ARRAY(SmallInteger), "integer[]": ARRAY(Integer)}

_COMMENTS: Final = {
    JOBS.name: "How a tenant's jobs ended and how long they took, per period and dimension: what dashboards"
    " read. One row per combination that has jobs; a dimension that is not broken down holds its"
    " 'all' value, so filter on every dimension and never add rows of different kinds.",
    STEPS.name: "How the steps of a tenant's executions ended and how long they took, per period, step and"
    " workflow. A step is a line of execution_logs that names one; soft-deleted jobs have none.",
}


def _count(name: str, comment: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False, comment=comment)


def _definition_version() -> Column[Any]:
    return Column(
        "definition_version",
        Integer,
        nullable=False,
        comment="By which definition the figures were computed; 0 is before definitions were counted.",
    )


def metrics_table(subject: Subject, metadata: MetaData = analytics_metadata) -> Table:
    """The table of a subject's cells: key, measures, when it was computed and how, histogram, and CHECKs."""
    row = subject.row
    histogram_comments = {
        "histogram_buckets": f"For hours and days with more than two timed {row}s: which buckets of durations"
        " have any; bucket b is up to 1.02^b microseconds, -1 is no time at all.",
        "histogram_counts": f"How many timed {row}s are in each of histogram_buckets.",
    }
    return Table(
        subject.table,
        metadata,
        Column("organization_id", Uuid, nullable=False, comment=f"The tenant the {row}s belong to."),
        Column(
            "period",
            Text,
            nullable=False,
            comment="How long the bucket is: hour in UTC; day, week (ISO, from Monday) or month in the"
            " organization's time zone.",
        ),
        time("period_start", f"Inclusive start of the bucket the {row}s ended in.", nullable=False),
        *(
            Column(each.column, Uuid if each.type == "uuid" else Text, nullable=False, comment=each.comment)
            for each in subject.dimensions
        ),
        *(
            Column(
                each.name,
                BigInteger if each.kind is Kind.COUNT else Double,
                nullable=each.nullable,
                comment=each.comment,
            )
            for each in subject.measures
        ),
        time("computed_at", "When this row last changed.", nullable=False),
        _definition_version(),
        *(
            Column(name, _ARRAYS[HISTOGRAM[name]], comment=histogram_comments[name])
            for name in subject.histogram_columns
        ),
        PrimaryKeyConstraint(*subject.key_columns),
        CheckConstraint(f"period IN ({listed(Period)})", name="period_is_known"),
        *(
            CheckConstraint(f"{each.column} <> ''", name=f"{each.short}_has_a_name")
            for each in subject.dimensions
            if each.every == ""
        ),
        *_checks_of_counts(subject),
        *(_checks_of_durations(subject) if subject.duration else ()),
        comment=_COMMENTS.get(subject.name, f"Metrics of {subject.name}."),
    )


def _checks_of_counts(subject: Subject) -> list[CheckConstraint]:
    counts = [each for each in subject.measures if each.kind is Kind.COUNT and each.among]
    outcomes = [each.name for each in counts if each.among != TIMED]
    found = [CheckConstraint(f"{subject.total} >= 1", name=f"counts_at_least_one_{subject.row}")]
    if counts:
        nonnegative = " AND ".join(f"{each.name} >= 0" for each in counts)
        found.append(CheckConstraint(nonnegative, name="counts_are_not_negative"))
    if outcomes:
        sum_ = f"{subject.total} = {' + '.join(outcomes)}"
        found.append(CheckConstraint(sum_, name="total_is_the_sum_of_the_outcomes"))
    found += [
        CheckConstraint(f"{each.name} >= 0 AND {each.name} <= 100", name="success_rate_is_a_percentage")
        for each in subject.measures
        if each.kind is Kind.RATE
    ]
    return found


def _checks_of_durations(subject: Subject) -> list[CheckConstraint]:
    timed = [each for each in subject.measures if each.is_duration and not each.among]
    by_kind: dict[Kind, Measure] = {each.kind: each for each in timed}
    total, mean = by_kind[Kind.SUM].name, by_kind[Kind.MEAN].name
    least, most = by_kind[Kind.MINIMUM].name, by_kind[Kind.MAXIMUM].name
    in_order = [least, *subject.percentiles(), most]
    nullable = [each.name for each in timed if each.nullable]
    return [
        CheckConstraint(f"{subject.timed} <= {subject.total}", name="timed_are_among_the_counted"),
        CheckConstraint(
            f"num_nulls({', '.join(nullable)})"
            f" = CASE WHEN {subject.timed} = 0 THEN {len(nullable)} ELSE 0 END",
            name="durations_are_null_when_none_is_timed",
        ),
        CheckConstraint(f"{subject.timed} > 0 OR {total} = 0", name="total_is_zero_when_none_is_timed"),
        CheckConstraint(
            " AND ".join([f"{least} >= 0", *(f"{one} <= {next_}" for one, next_ in pairwise(in_order))]),
            name="durations_are_in_order",
        ),
        CheckConstraint(
            " AND ".join(
                [
                    *(f"{name} >= 0 AND {name} < 'Infinity'" for name in (total, mean)),
                    f"{most} < 'Infinity'",
                ]
            ),
            name="durations_are_numbers",
        ),
        *_checks_of_outcomes(subject),
        CheckConstraint(
            "cardinality(histogram_buckets) = cardinality(histogram_counts)"
            " AND num_nulls(histogram_buckets, histogram_counts) IN (0, 2)"
            f" AND (histogram_buckets IS NULL OR period IN ('hour', 'day') AND {subject.timed} > 2)",
            name="histogram_is_whole",
        ),
    ]


def _checks_of_outcomes(subject: Subject) -> list[CheckConstraint]:
    """Percentiles of one outcome are all there or none is, in order, and within the extremes."""
    found = []
    for outcome in subject.outcomes:
        names = list(subject.percentiles(outcome))
        if names:
            condition = (
                f"num_nulls({', '.join(names)}) IN (0, {len(names)})"
                f" AND ({names[0]} IS NULL"
                f" OR {names[0]} >= min_duration_ms AND {names[-1]} <= max_duration_ms"
                + "".join(f" AND {one} <= {next_}" for one, next_ in pairwise(names))
                + ")"
            )
            found.append(CheckConstraint(condition, name=f"durations_of_{outcome}_are_in_order"))
    return found


aggregate_metrics: Final = metrics_table(JOBS)
aggregate_step_metrics: Final = metrics_table(STEPS)

watermarks: Final = Table(
    "watermarks",
    analytics_metadata,
    Column("subject", Text, nullable=False, comment="What was published: jobs, or steps."),
    Column("organization_id", Uuid, nullable=False, comment="The tenant whose metrics were published."),
    Column(
        "checkpoint",
        JSONB,
        comment="Where to go on reading the source: identity says which server, history, database and table"
        " was read, horizon is the 64-bit transaction id below which every transaction had ended. NULL:"
        " from the beginning.",
    ),
    time("swept_at", "When every source row was last looked at, by the source's clock.", nullable=False),
    time(
        "complete_through",
        "Every row that had ended and been written down before this time is in the metrics: an hour before it"
        " without a row had none.",
        nullable=False,
    ),
    time("extracted_at", "When the source was last read for it, by the source's clock.", nullable=False),
    Column(
        "facts_table_id",
        Uuid,
        nullable=False,
        comment="Which table of facts they were computed from; another table counts its versions anew.",
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
    time("guarded_at", "Since when deletes are not believed because they are too many; NULL for none."),
    Column("guarded_rows", BigInteger, comment="How many rows they would take away; NULL for none."),
    Column(
        "guarded_since",
        Date,
        comment="The first day that was looked at when they were found; NULL for all.",
    ),
    Column(
        "edition",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="How often rows were written or removed without a publication: by a repair, a rebuild or"
        " retention. With published_at it names one state of the metrics.",
    ),
    PrimaryKeyConstraint("subject", "organization_id"),
    CheckConstraint(f"subject IN ({listed(each.name for each in SUBJECTS)})", name="subject_is_known"),
    comment="How far each organization has been read and published, moved in the transaction that publishes.",
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
    PrimaryKeyConstraint("run_id", "organization_id", "subject"),
    CheckConstraint(f"outcome IN ({listed(Outcome)})", name="outcome_is_known"),
    CheckConstraint("(outcome = 'failed') = (error_class IS NOT NULL)", name="failures_have_a_class"),
    CheckConstraint(f"subject IN ({listed(each.name for each in SUBJECTS)})", name="subject_is_known"),
    Index(None, "organization_id", "subject", "finished_at"),
    comment="What became of each organization in each run.",
)


restatements: Final = Table(
    "restatements",
    analytics_metadata,
    Column("subject", Text, nullable=False, comment="What the cell measures: jobs, or steps."),
    Column("organization_id", Uuid, nullable=False, comment="The tenant."),
    Column("period", Text, nullable=False, comment="The period of the cell."),
    time("period_start", "The start of its bucket.", nullable=False),
    Column(
        "cell",
        JSONB,
        nullable=False,
        comment="Its dimensions by column, with the values that mean all or none.",
    ),
    Column(
        "reason",
        Text,
        nullable=False,
        comment="late, edited, retried, deleted: what became of rows; time_zone, definition: of rules;"
        " backfill: found by reading a range again; drift: the stored figures were not ours.",
    ),
    Column("run_id", Uuid, nullable=False, comment="The run that wrote the new figures."),
    time("restated_at", "When they were written.", nullable=False),
    Column("old", JSONB, comment="The figures before, by column; NULL where there was no cell."),
    Column("new", JSONB, comment="The figures after, by column; NULL where there is no cell any more."),
    time("old_computed_at", "Since when the figures before stood; NULL where there was no cell."),
    PrimaryKeyConstraint("organization_id", "subject", "period", "period_start", "cell", "run_id"),
    CheckConstraint(f"subject IN ({listed(each.name for each in SUBJECTS)})", name="subject_is_known"),
    CheckConstraint(f"reason IN ({listed(Restated)})", name="reason_is_known"),
    CheckConstraint("num_nonnulls(old, new) > 0", name="something_was_restated"),
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
