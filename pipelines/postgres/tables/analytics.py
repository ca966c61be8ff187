"""The tables of the analytics schema as the migrations leave them."""

from collections.abc import Iterator, Sequence
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

from pipelines.postgres.tables.columns import TIME, analytics_metadata, check, listed, optional, required
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


def _definition_version() -> Column[Any]:
    comment = "By which definition the figures were computed; 0 is before definitions were counted."
    return required("definition_version", Integer, comment)


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
        required("organization_id", Uuid, f"The tenant the {row}s belong to."),
        required(
            "period",
            Text,
            "How long the bucket is: hour in UTC; day, week (ISO, from Monday) or month in the"
            " organization's time zone.",
        ),
        required("period_start", TIME, f"Inclusive start of the bucket the {row}s ended in."),
        *(
            required(each.column, Uuid if each.type == "uuid" else Text, each.comment)
            for each in subject.dimensions
        ),
        *map(_measured, subject.measures),
        required("computed_at", TIME, "When this row last changed."),
        _definition_version(),
        *(
            optional(name, _ARRAYS[HISTOGRAM[name]], histogram_comments[name])
            for name in subject.histogram_columns
        ),
        PrimaryKeyConstraint(*subject.key_columns),
        check("period_is_known", f"period IN ({listed(Period)})"),
        *(
            check(f"{each.short}_has_a_name", f"{each.column} <> ''")
            for each in subject.dimensions
            if each.every == ""
        ),
        *_checks_of_counts(subject),
        *(_checks_of_durations(subject) if subject.duration else ()),
        comment=_COMMENTS.get(subject.name, f"Metrics of {subject.name}."),
    )


def _measured(measure: Measure) -> Column[Any]:
    kind = BigInteger if measure.kind is Kind.COUNT else Double
    return Column(measure.name, kind, nullable=measure.nullable, comment=measure.comment)


def _checks_of_counts(subject: Subject) -> Iterator[CheckConstraint]:
    counts = [each for each in subject.measures if each.kind is Kind.COUNT and each.among]
    outcomes = [each.name for each in counts if each.among != TIMED]
    yield check(f"counts_at_least_one_{subject.row}", f"{subject.total} >= 1")
    if counts:
        yield check("counts_are_not_negative", " AND ".join(f"{each.name} >= 0" for each in counts))
    if outcomes:
        yield check("total_is_the_sum_of_the_outcomes", f"{subject.total} = {' + '.join(outcomes)}")
    for each in subject.measures:
        if each.kind is Kind.RATE:
            yield check("success_rate_is_a_percentage", f"{each.name} >= 0 AND {each.name} <= 100")


def _checks_of_durations(subject: Subject) -> Iterator[CheckConstraint]:
    measured = [each for each in subject.measures if each.is_duration and not each.among]
    by_kind = {each.kind: each.name for each in measured}
    total, mean, least, most = (by_kind[kind] for kind in (Kind.SUM, Kind.MEAN, Kind.MINIMUM, Kind.MAXIMUM))
    timed = subject.timed
    nullable = [each.name for each in measured if each.nullable]
    nulls = f"num_nulls({', '.join(nullable)}) = CASE WHEN {timed} = 0 THEN {len(nullable)} ELSE 0 END"
    yield check("timed_are_among_the_counted", f"{timed} <= {subject.total}")
    yield check("durations_are_null_when_none_is_timed", nulls)
    yield check("total_is_zero_when_none_is_timed", f"{timed} > 0 OR {total} = 0")
    yield check(
        "durations_are_in_order", f"{least} >= 0 AND {_in_order([least, *subject.percentiles(), most])}"
    )
    finite = " AND ".join(f"{name} >= 0 AND {name} < 'Infinity'" for name in (total, mean))
    yield check("durations_are_numbers", f"{finite} AND {most} < 'Infinity'")
    # Percentiles of one outcome are all there or none is, in order, and within the extremes.
    for outcome in subject.outcomes:
        if names := list(subject.percentiles(outcome)):
            yield check(
                f"durations_of_{outcome}_are_in_order",
                f"num_nulls({', '.join(names)}) IN (0, {len(names)}) AND ({names[0]} IS NULL"
                f" OR {names[0]} >= {least} AND {names[-1]} <= {most} AND {_in_order(names)})",
            )
    yield check(
        "histogram_is_whole",
        "cardinality(histogram_buckets) = cardinality(histogram_counts)"
        " AND num_nulls(histogram_buckets, histogram_counts) IN (0, 2)"
        f" AND (histogram_buckets IS NULL OR period IN ('hour', 'day') AND {timed} > 2)",
    )


def _in_order(names: Sequence[str]) -> str:
    return " AND ".join(f"{one} <= {next_}" for one, next_ in pairwise(names))


def _subject_is_known() -> CheckConstraint:
    return check("subject_is_known", f"subject IN ({listed(each.name for each in SUBJECTS)})")


aggregate_metrics: Final = metrics_table(JOBS)
aggregate_step_metrics: Final = metrics_table(STEPS)

Table(
    "watermarks",
    analytics_metadata,
    required("subject", Text, "What was published: jobs, or steps."),
    required("organization_id", Uuid, "The tenant whose metrics were published."),
    optional(
        "checkpoint",
        JSONB,
        "Where to go on reading the source: identity says which server, history, database and table was"
        " read, horizon is the 64-bit transaction id below which every transaction had ended. NULL: from the"
        " beginning.",
    ),
    required("swept_at", TIME, "When every source row was last looked at, by the source's clock."),
    required(
        "complete_through",
        TIME,
        "Every row that had ended and been written down before this time is in the metrics: an hour before"
        " it without a row had none.",
    ),
    required("extracted_at", TIME, "When the source was last read for it, by the source's clock."),
    required(
        "facts_table_id",
        Uuid,
        "Which table of facts they were computed from; another table counts its versions anew.",
    ),
    required("published_version", BigInteger, "The version of that table they agree with."),
    required("published_at", TIME, "When they were last published."),
    _definition_version(),
    required("time_zone", Text, "The zone in which its days, weeks and months begin."),
    required(
        "zone_offsets",
        Text,
        "MD5 of the zone's rules as the source had them; others restate days, weeks and months.",
    ),
    optional("rebuilding_version", Integer, "The definition that is being computed anew; NULL for none."),
    optional("rebuilt_before", TIME, "Cells that begin before this are of it already; NULL for none."),
    optional("run_id", Uuid, "The run that published them."),
    optional(
        "verified_at", TIME, "When they were last found equal to plain SQL on the source; NULL for never."
    ),
    optional("audited_at", TIME, "When they were last compared with it, whatever came out; NULL for never."),
    optional(
        "guarded_at", TIME, "Since when deletes are not believed because they are too many; NULL for none."
    ),
    optional("guarded_rows", BigInteger, "How many rows they would take away; NULL for none."),
    optional("guarded_since", Date, "The first day that was looked at when they were found; NULL for all."),
    required(
        "edition",
        BigInteger,
        "How often rows were written or removed without a publication: by a repair, a rebuild or retention."
        " With published_at it names one state of the metrics.",
        server_default=text("0"),
    ),
    PrimaryKeyConstraint("subject", "organization_id"),
    _subject_is_known(),
    comment="How far each organization has been read and published, moved in the transaction that publishes.",
)

Table(
    "organizations",
    analytics_metadata,
    required("id", Uuid, "The organization."),
    optional("name", Text, "Its name in the source."),
    required(
        "time_zone",
        Text,
        "IANA name of the zone in which its days, weeks and months begin.",
        server_default=text("'UTC'"),
    ),
    optional("deleted_at", TIME, "When it was soft-deleted in the source; NULL while it is in use."),
    PrimaryKeyConstraint("id"),
    comment="Names of the organizations, copied from the source with the metrics they explain.",
)

for _what in ("workflow", "client"):
    Table(
        f"{_what}s",
        analytics_metadata,
        required("id", Uuid, f"The {_what}."),
        required("organization_id", Uuid, f"The tenant that owns the {_what}."),
        optional("name", Text, "Its name in the source."),
        optional("deleted_at", TIME, "When it was soft-deleted in the source; NULL while it is in use."),
        PrimaryKeyConstraint("id"),
        Index(None, "organization_id"),
        comment=f"Names of the {_what}s, copied from the source with the metrics they explain.",
    )

Table(
    "time_zone_offsets",
    analytics_metadata,
    required("time_zone", Text, "IANA name of the zone."),
    required("since", TIME, "From when on the offset holds; the first one of a zone holds before, too."),
    required("offset_s", Integer, "Seconds that local time is ahead of UTC."),
    PrimaryKeyConstraint("time_zone", "since"),
    comment="The rules of the zones in use, as the source's PostgreSQL has them: days, weeks and months begin"
    " by these, whatever another server's rules say.",
)

Table(
    "metric_definitions",
    analytics_metadata,
    # Given out by us: a sequence would skip numbers.
    required("definition_version", Integer, "The number that rows of metrics carry.", autoincrement=False),
    required(
        "definition",
        Text,
        "What is computed: the figures, and the combinations of dimensions that are stored.",
    ),
    required("first_used_at", TIME, "When it was first computed by this definition."),
    PrimaryKeyConstraint("definition_version"),
    UniqueConstraint("definition"),
    comment="The definitions by which metrics were ever computed; a new one computes every row anew.",
)

Table(
    "refresh_outcomes",
    analytics_metadata,
    required("run_id", Uuid, "The run."),
    required("organization_id", Uuid, "The tenant."),
    required("outcome", Text, "published, or failed."),
    optional("error_class", Text, "The kind of failure, never its words; NULL when published."),
    required("finished_at", TIME, "When it was settled."),
    required("milliseconds", BigInteger, "How long the last attempt of its batch took."),
    required("subject", Text, "What of the tenant was to be published: jobs, or steps."),
    PrimaryKeyConstraint("run_id", "organization_id", "subject"),
    check("outcome_is_known", f"outcome IN ({listed(Outcome)})"),
    check("failures_have_a_class", "(outcome = 'failed') = (error_class IS NOT NULL)"),
    _subject_is_known(),
    Index(None, "organization_id", "subject", "finished_at"),
    comment="What became of each organization in each run.",
)

Table(
    "restatements",
    analytics_metadata,
    required("subject", Text, "What the cell measures: jobs, or steps."),
    required("organization_id", Uuid, "The tenant."),
    required("period", Text, "The period of the cell."),
    required("period_start", TIME, "The start of its bucket."),
    required("cell", JSONB, "Its dimensions by column, with the values that mean all or none."),
    required(
        "reason",
        Text,
        "late, edited, retried, deleted: what became of rows; time_zone, definition: of rules; backfill:"
        " found by reading a range again; drift: the stored figures were not ours.",
    ),
    required("run_id", Uuid, "The run that wrote the new figures."),
    required("restated_at", TIME, "When they were written."),
    optional("old", JSONB, "The figures before, by column; NULL where there was no cell."),
    optional("new", JSONB, "The figures after, by column; NULL where there is no cell any more."),
    optional("old_computed_at", TIME, "Since when the figures before stood; NULL where there was no cell."),
    PrimaryKeyConstraint("organization_id", "subject", "period", "period_start", "cell", "run_id"),
    _subject_is_known(),
    check("reason_is_known", f"reason IN ({listed(Restated)})"),
    check("something_was_restated", "num_nonnulls(old, new) > 0"),
    Index(None, "restated_at"),
    comment="Cells that changed after their period had been published: figures before and after, and why.",
)

Table(
    "retention",
    analytics_metadata,
    required("period", Text, "The period whose old cells were removed, or restatements."),
    required("removed_before", TIME, "Cells that begin before this, or restatements from before, are gone."),
    PrimaryKeyConstraint("period"),
    comment="What a retention setting has removed: it is neither written again nor missed by verify.",
)

Table(
    "job_anomalies",
    analytics_metadata,
    required("job_id", Uuid, "The job in the source."),
    required("organization_id", Uuid, "The tenant that owns the job."),
    required("reason", Text, "What is wrong with it, such as negative_duration or missing_timestamp."),
    required(
        "effect",
        Text,
        "not_counted: the job is in no metric; not_timed: it is counted, without its duration.",
    ),
    required(
        "detail",
        Text,
        "What was seen, in times and ids; never payload or free text.",
        server_default=text("''"),
    ),
    required("first_seen_at", TIME, "When it was first listed."),
    required("last_seen_at", TIME, "When it was last found to be still so."),
    PrimaryKeyConstraint("job_id", "reason"),
    check("effect_is_known", "effect IN ('not_counted', 'not_timed')"),
    Index(None, "organization_id"),
    comment="Source rows that could not be taken at face value. A row leaves the list when the source is"
    " repaired or its time has come.",
)
