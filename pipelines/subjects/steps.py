"""Steps: lines of a job's log that name one, what the facts keep of them, and what is measured."""

from enum import StrEnum
from typing import Final

from pipelines.subjects.dimensions import STEP, WORKFLOW
from pipelines.subjects.measures import TIMED, Kind, Measure, durations
from pipelines.subjects.rollup import Period
from pipelines.subjects.subject import Fact, SourceRows, Subject


class Level(StrEnum):
    """The levels of a line, the least grave first."""

    TRACE = "TRACE"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"
    FATAL = "FATAL"


# A key of an index has no room for more.
LONGEST_NAME: Final = 200

STEPS: Final = Subject(
    name="steps",
    row="step",
    table="aggregate_step_metrics",
    fact=Fact(
        table="step_facts",
        key="log_id",
        partition_column="completed_date",
        # `completed_at` is when the line was written, which is when the step ended.
        columns={
            "log_id": "uuid",
            "organization_id": "uuid",
            "job_id": "uuid",
            "workflow_id": "uuid",
            "step_name": "text",
            "level": "text",
            "completed_at": "timestamptz",
            "duration_us": "bigint",
            "row_hash": "bigint",
        },
    ),
    dimensions=(WORKFLOW, STEP),
    outcome_column="level",
    outcomes={
        "completed": (Level.TRACE, Level.DEBUG, Level.INFO),
        "warned": (Level.WARN,),
        "failed": (Level.ERROR, Level.FATAL),
    },
    duration=("duration_us",),
    measures=(
        Measure("total_executions", Kind.COUNT, "Steps counted in this row, whatever their outcome."),
        Measure(
            "completed_executions",
            Kind.COUNT,
            "Steps among them that ended with a line of TRACE, DEBUG or INFO.",
            "completed",
        ),
        Measure(
            "warned_executions", Kind.COUNT, "Steps among them that ended with a line of WARN.", "warned"
        ),
        Measure(
            "failed_executions",
            Kind.COUNT,
            "Steps among them that ended with a line of ERROR or FATAL.",
            "failed",
        ),
        Measure(
            "timed_executions",
            Kind.COUNT,
            "Steps among them with a valid duration (given, not negative): the n behind every duration here.",
            TIMED,
        ),
        *durations("step"),
    ),
    # Steps of different names have nothing in common, so they are never added up: 2 x 4 cells for one step.
    rollup=dict.fromkeys(Period, (frozenset({"step_name"}), frozenset({"workflow_id", "step_name"}))),
    rules=f"steps; rules 1; names {LONGEST_NAME}",
    # No message, no metadata.
    source=SourceRows(
        relation="execution_logs",
        columns=("id", "organization_id", "job_id", "level", "timestamp", "step_name", "duration_ms"),
        statement="source_rows/steps",
        time="timestamp",
        of_jobs=True,
        months="execution_log_months",
    ),
)
