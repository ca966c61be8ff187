"""What is measured, jobs and the steps in them: by what they are broken down, and how they ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipelines.subjects.dimensions import (
    ALL_CLIENTS,
    ALL_INITIATORS,
    ALL_WORKFLOWS,
    NO_CLIENT,
    UNKNOWN_INITIATOR,
)
from pipelines.subjects.jobs import Status
from pipelines.subjects.logs import OUTCOMES, StepOutcome
from pipelines.subjects.measures import COUNT_COLUMNS, DIMENSIONS, FIGURE_COLUMNS, HISTOGRAM_COLUMNS
from pipelines.subjects.rollup import Mask, RollupPlan
from pipelines.subjects.steps import STEP_COUNT_COLUMNS, STEP_DIMENSIONS, STEP_FIGURE_COLUMNS

Value = bytes | str

_BUCKET: Final = ("organization_id", "period", "period_start")
_TOTAL, _COMPLETED = pl.col("total_executions"), pl.col("completed_executions")


@dataclass(frozen=True)
class Subject:
    """How rows of facts become cells.

    `dimensions` are the columns that cells are broken down by; where they are not, the value is that of
    `every`, and rows without one count under that of `nobody`. `measures` tell a row's outcome and duration
    from its columns `of_a_row`, and `counted` the counts that follow from those of the statement.
    """

    dimensions: Mapping[str, Mask]
    every: Mapping[str, Value]
    nobody: Mapping[str, Value]
    of_a_row: tuple[str, ...]
    outcomes: Mapping[str, pl.Expr]
    duration_us: pl.Expr
    counted: Mapping[str, pl.Expr]
    count_columns: tuple[str, ...]
    figure_columns: tuple[str, ...]

    @property
    def key_columns(self) -> tuple[str, ...]:
        """What names a cell."""
        return (*_BUCKET, *self.dimensions)

    @property
    def short_names(self) -> dict[str, str]:
        """What each dimension is called where it is a number or a flag, such as `workflow`."""
        return {column: str(mask.name).lower() for column, mask in self.dimensions.items()}

    @property
    def cell_columns(self) -> tuple[str, ...]:
        """The columns of a cell, in order."""
        return (*self.key_columns, *self.figure_columns, *HISTOGRAM_COLUMNS)

    @property
    def measured_columns(self) -> tuple[str, ...]:
        """What is needed to know of a row."""
        return ("organization_id", *self.dimensions, *self.of_a_row)


def _ended(outcome: StepOutcome) -> pl.Expr:
    return pl.col("level").is_in([level.value for level, ends in OUTCOMES.items() if ends is outcome])


def _value(sentinel: Value) -> pl.Expr:
    return pl.lit(sentinel, dtype=pl.Binary if isinstance(sentinel, bytes) else pl.String)


def every(subject: Subject, column: str) -> pl.Expr:
    """The value that means all of a dimension."""
    return _value(subject.every[column]).alias(column)


def masks_of(plan: RollupPlan, subject: Subject) -> pl.DataFrame:
    """Every combination of a plan: its `period`, and for each dimension, by its short name, is it kept."""
    names = subject.short_names
    return pl.DataFrame(
        [
            {"period": period.value}
            | {names[column]: each in mask for column, each in subject.dimensions.items()}
            for period, masks in plan.items()
            for mask in masks
        ]
    )


def with_named_groups(facts: pl.LazyFrame, subject: Subject) -> pl.LazyFrame:
    """Replace what a row does not name by the sentinels under which it is counted."""
    return facts.with_columns(
        pl.col(column).fill_null(_value(sentinel)) for column, sentinel in subject.nobody.items()
    )


JOBS: Final = Subject(
    dimensions=DIMENSIONS,
    every={
        "workflow_id": ALL_WORKFLOWS.bytes,
        "client_id": ALL_CLIENTS.bytes,
        "initiator_type": ALL_INITIATORS,
    },
    nobody={"client_id": NO_CLIENT.bytes, "initiator_type": UNKNOWN_INITIATOR},
    of_a_row=("status", "started_at", "completed_at"),
    outcomes={"completed": pl.col("status") == Status.COMPLETED.value},
    duration_us=(pl.col("completed_at") - pl.col("started_at")).dt.total_microseconds(),
    counted={
        "failed_executions": _TOTAL - _COMPLETED,
        "success_rate_pct": 100.0 * _COMPLETED / _TOTAL,
    },
    count_columns=COUNT_COLUMNS,
    figure_columns=FIGURE_COLUMNS,
)

STEPS: Final = Subject(
    dimensions=STEP_DIMENSIONS,
    # Steps of all names together are never counted.
    every={"workflow_id": ALL_WORKFLOWS.bytes, "step_name": ""},
    nobody={},
    of_a_row=("level", "completed_at", "duration_us"),
    outcomes={"completed": _ended(StepOutcome.COMPLETED), "warned": _ended(StepOutcome.WARNED)},
    duration_us=pl.col("duration_us"),
    counted={"failed_executions": _TOTAL - _COMPLETED - pl.col("warned_executions")},
    count_columns=STEP_COUNT_COLUMNS,
    figure_columns=STEP_FIGURE_COLUMNS,
)
