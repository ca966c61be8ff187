"""The tables whose columns code shows, as the migrations leave them; migrations alone know the others."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ENUM

from pipelines.postgres.schemas import ANALYTICS, ORCHESTRATION
from pipelines.subjects.jobs import JOBS, Status
from pipelines.subjects.measures import TIMED, Kind, Measure
from pipelines.subjects.rollup import Period
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import HISTOGRAM, Subject

# An error message quotes the constraint's name, so the name is the sentence that was broken.
_NAMES: Final = {
    "pk": "%(table_name)s_primary_key",
    "uq": "%(table_name)s_unique_by_%(column_0_N_name)s",
    "fk": "%(table_name)s_%(column_0_N_name)s_exists",
    "ck": "%(table_name)s_%(constraint_name)s",
    "ix": "%(table_name)s_by_%(column_0_N_name)s",
}

# Migrations name what they make by these, too.
METADATA: Final[Mapping[str, sa.MetaData]] = {
    schema: sa.MetaData(schema=schema, naming_convention=_NAMES) for schema in (ORCHESTRATION, ANALYTICS)
}

_TIME: Final = sa.DateTime(timezone=True)

_ARRAYS: Final = {"smallint[]": sa.ARRAY(sa.SmallInteger), "integer[]": sa.ARRAY(sa.Integer)}

_COMMENTS: Final = {
    JOBS.name: "How a tenant's jobs ended and how long they took, per period and dimension: what dashboards"
    " read. One row per combination that has jobs; a dimension that is not broken down holds its"
    " 'all' value, so filter on every dimension and never add rows of different kinds.",
    STEPS.name: "How the steps of a tenant's executions ended and how long they took, per period, step and"
    " workflow. A step is a line of execution_logs that names one; soft-deleted jobs have none.",
}


def metrics_table(subject: Subject, metadata: sa.MetaData = METADATA[ANALYTICS]) -> sa.Table:
    """The table of a subject's cells: key, measures, when it was computed and how, histogram, and CHECKs."""
    row = subject.row
    periods = ", ".join(f"'{period}'" for period in sorted(Period))
    histogram_comments = {
        "histogram_buckets": f"For hours and days with more than two timed {row}s: which buckets of durations"
        " have any; bucket b is up to 1.02^b microseconds, -1 is no time at all.",
        "histogram_counts": f"How many timed {row}s are in each of histogram_buckets.",
    }
    return sa.Table(
        subject.table,
        metadata,
        _required("organization_id", sa.Uuid, f"The tenant the {row}s belong to."),
        _required(
            "period",
            sa.Text,
            "How long the bucket is: hour in UTC; day, week (ISO, from Monday) or month in the"
            " organization's time zone.",
        ),
        _required("period_start", _TIME, f"Inclusive start of the bucket the {row}s ended in."),
        *(
            _required(each.column, sa.Uuid if each.type == "uuid" else sa.Text, each.comment)
            for each in subject.dimensions
        ),
        *map(_measured, subject.measures),
        _required("computed_at", _TIME, "When this row last changed."),
        _required(
            "definition_version",
            sa.Integer,
            "By which definition the figures were computed; 0 is before definitions were counted.",
        ),
        *(
            _optional(name, _ARRAYS[HISTOGRAM[name]], histogram_comments[name])
            for name in subject.histogram_columns
        ),
        sa.PrimaryKeyConstraint(*subject.key_columns),
        _check("period_is_known", f"period IN ({periods})"),
        *(
            _check(f"{each.short}_has_a_name", f"{each.column} <> ''")
            for each in subject.dimensions
            if each.every == ""
        ),
        *_checks_of_counts(subject),
        *(_checks_of_durations(subject) if subject.duration else ()),
        comment=_COMMENTS.get(subject.name, f"Metrics of {subject.name}."),
    )


def _measured(measure: Measure) -> sa.Column[Any]:
    kind = sa.BigInteger if measure.kind is Kind.COUNT else sa.Double
    return sa.Column(measure.name, kind, nullable=measure.nullable, comment=measure.comment)


def _checks_of_counts(subject: Subject) -> Iterator[sa.CheckConstraint]:
    counts = [each for each in subject.measures if each.kind is Kind.COUNT and each.among]
    outcomes = [each.name for each in counts if each.among != TIMED]
    yield _check(f"counts_at_least_one_{subject.row}", f"{subject.total} >= 1")
    if counts:
        yield _check("counts_are_not_negative", " AND ".join(f"{each.name} >= 0" for each in counts))
    if outcomes:
        yield _check("total_is_the_sum_of_the_outcomes", f"{subject.total} = {' + '.join(outcomes)}")
    for each in subject.measures:
        if each.kind is Kind.RATE:
            yield _check("success_rate_is_a_percentage", f"{each.name} >= 0 AND {each.name} <= 100")


def _checks_of_durations(subject: Subject) -> Iterator[sa.CheckConstraint]:
    measured = [each for each in subject.measures if each.is_duration and not each.among]
    by_kind = {each.kind: each.name for each in measured}
    total, mean, least, most = (by_kind[kind] for kind in (Kind.SUM, Kind.MEAN, Kind.MINIMUM, Kind.MAXIMUM))
    timed = subject.timed
    nullable = [each.name for each in measured if each.nullable]
    nulls = f"num_nulls({', '.join(nullable)}) = CASE WHEN {timed} = 0 THEN {len(nullable)} ELSE 0 END"
    yield _check("timed_are_among_the_counted", f"{timed} <= {subject.total}")
    yield _check("durations_are_null_when_none_is_timed", nulls)
    yield _check("total_is_zero_when_none_is_timed", f"{timed} > 0 OR {total} = 0")
    yield _check(
        "durations_are_in_order", f"{least} >= 0 AND {_in_order([least, *subject.percentiles(), most])}"
    )
    finite = " AND ".join(f"{name} >= 0 AND {name} < 'Infinity'" for name in (total, mean))
    yield _check("durations_are_numbers", f"{finite} AND {most} < 'Infinity'")
    # Percentiles of one outcome are all there or none is, in order, and within the extremes.
    for outcome in subject.outcomes:
        if names := list(subject.percentiles(outcome)):
            yield _check(
                f"durations_of_{outcome}_are_in_order",
                f"num_nulls({', '.join(names)}) IN (0, {len(names)}) AND ({names[0]} IS NULL"
                f" OR {names[0]} >= {least} AND {names[-1]} <= {most} AND {_in_order(names)})",
            )
    yield _check(
        "histogram_is_whole",
        "cardinality(histogram_buckets) = cardinality(histogram_counts)"
        " AND num_nulls(histogram_buckets, histogram_counts) IN (0, 2)"
        f" AND (histogram_buckets IS NULL OR period IN ('hour', 'day') AND {timed} > 2)",
    )


def _in_order(names: Sequence[str]) -> str:
    return " AND ".join(f"{one} <= {next_}" for one, next_ in pairwise(names))


def _required(name: str, kind: Any, comment: str) -> sa.Column[Any]:
    """A column that every row has a value for."""
    return sa.Column(name, kind, comment=comment, nullable=False)


def _optional(name: str, kind: Any, comment: str) -> sa.Column[Any]:
    """A column that may be NULL."""
    return sa.Column(name, kind, comment=comment)


def _check(name: str, condition: str) -> sa.CheckConstraint:
    """A condition on each row; the name of the table is put in front of its name."""
    return sa.CheckConstraint(condition, name=name)


aggregate_metrics: Final = metrics_table(JOBS)
aggregate_step_metrics: Final = metrics_table(STEPS)

_job_status: Final = ENUM(*map(str, Status), name="job_status", metadata=METADATA[ORCHESTRATION])

# Its foreign key and its indexes are left to the migration that makes them.
execution_metadata: Final = sa.Table(
    "execution_metadata",
    METADATA[ORCHESTRATION],
    _required("organization_id", sa.Uuid, "The tenant that owns the job."),
    _required("job_id", sa.Uuid, "The job."),
    _required("workflow_id", sa.Uuid, "The workflow that was executed."),
    _required("workflow_name", sa.Text, "Its name when it was last synced."),
    _optional("client_id", sa.Uuid, "The client it was executed for; NULL when for none."),
    _optional("client_name", sa.Text, "Its name when it was last synced; NULL without a client."),
    _optional("initiator_type", sa.Text, "What started the job; NULL when that is not known."),
    _required("status", _job_status, "Where the job stood."),
    _required("created_at", _TIME, "When the job was asked for."),
    _optional("started_at", _TIME, "When it began to run; NULL before that."),
    _optional("completed_at", _TIME, "When it finished; NULL before that."),
    _optional("deleted_at", _TIME, "When it was soft-deleted; NULL while it counts."),
    _required(
        "last_synced_at",
        _TIME,
        "When a sync last wrote this row, because it differed from its sources. A sync that finds it equal"
        " leaves it: execution_metadata_syncs.synced_at says through when the organization is copied.",
    ),
    sa.PrimaryKeyConstraint("job_id"),
    comment="Jobs with the names of their workflows and clients, for dashboards that list them without a"
    " join. Copied by sync_metadata (execmetrics metadata sync, every hour by Dagster) from jobs, workflows"
    " and clients, and by nothing else: no trigger, no application code. A sync takes jobs that were written"
    " at or after the horizon in execution_metadata_syncs, and those whose workflow or client was, so that a"
    " new name reaches every row; jobs deleted for good leave by cascade. What somebody writes here by hand"
    " no such sync sees: a check compares with the sources and counts it as drift, and reconciling, which is"
    " a sync of everything, repairs it. The job is the only foreign key, so that no change of a job, workflow"
    " or client is refused for the sake of its copy.",
)
