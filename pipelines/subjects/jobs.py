"""Jobs: what the source gives of one, what the facts keep, and what is measured."""

from enum import StrEnum
from typing import Final

from pipelines.subjects.dimensions import CLIENT, INITIATOR, WORKFLOW
from pipelines.subjects.measures import TIMED, Kind, Measure, durations
from pipelines.subjects.rollup import Period, rollup_plan
from pipelines.subjects.subject import Fact, Subject


class Status(StrEnum):
    """The states of a job that the source contract knows."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TombstoneReason(StrEnum):
    """Why a row that counted no longer does."""

    DELETED = "deleted"
    RETRIED = "retried"
    EDITED = "edited"


FINISHED: Final = (Status.COMPLETED, Status.FAILED)
UNFINISHED: Final = (Status.PENDING, Status.RUNNING, Status.CANCELLED)

# In characters, up to four bytes each: a key of PostgreSQL's indexes holds 2,704 bytes.
LONGEST_INITIATOR_TYPE: Final = 500

# A row of the source has these beside the fact: times that PostgreSQL holds and others cannot (infinity,
# year 0) arrive as NULL beside a flag.
FLAGS: Final = (
    "deleted",
    "missing_timestamp",
    "infinite_timestamp",
    "timestamp_out_of_range",
    "foreign_workflow",
    "foreign_client",
)

_DIMENSIONS: Final = (WORKFLOW, CLIENT, INITIATOR)

JOBS: Final = Subject(
    name="jobs",
    row="job",
    table="aggregate_metrics",
    fact=Fact(
        table="job_facts",
        key="job_id",
        partition_column="created_date",
        columns={
            "job_id": "uuid",
            "organization_id": "uuid",
            "workflow_id": "uuid",
            "client_id": "uuid",
            "initiator_type": "text",
            "status": "text",
            "created_at": "timestamptz",
            "started_at": "timestamptz",
            "completed_at": "timestamptz",
            "row_hash": "bigint",
        },
    ),
    dimensions=_DIMENSIONS,
    outcome_column="status",
    outcomes={"completed": (Status.COMPLETED,), "failed": (Status.FAILED,)},
    duration=("started_at", "completed_at"),
    measures=(
        Measure("total_executions", Kind.COUNT, "Jobs counted in this row: completed and failed ones."),
        Measure("completed_executions", Kind.COUNT, "Jobs among them that ended COMPLETED.", "completed"),
        Measure("failed_executions", Kind.COUNT, "Jobs among them that ended FAILED.", "failed"),
        Measure(
            "timed_executions",
            Kind.COUNT,
            "Jobs among them with a valid duration (not negative): the n behind every duration here.",
            TIMED,
        ),
        Measure(
            "success_rate_pct",
            Kind.RATE,
            "Percent: 100 x completed_executions / total_executions.",
            "completed",
        ),
        *durations("job"),
        Measure(
            "median_completed_duration_ms",
            Kind.PERCENTILE,
            "Median duration in milliseconds of the jobs that ended COMPLETED;"
            " NULL when none of them is timed.",
            "completed",
            0.5,
        ),
        Measure(
            "p95_completed_duration_ms",
            Kind.PERCENTILE,
            "Milliseconds within which 95 percent of the jobs that ended COMPLETED ended, interpolated;"
            " NULL when none of them is timed.",
            "completed",
            0.95,
        ),
    ),
    # Finer periods multiply every set, so they keep fewer: 4 + 7 + 8 + 8 = 27 cells for one job at most.
    rollup=rollup_plan(
        [each.column for each in _DIMENSIONS],
        {Period.HOUR: 1, Period.DAY: 2, Period.WEEK: 3, Period.MONTH: 3},
    ),
    rules="rules 1",
)
