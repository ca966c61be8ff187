"""What we know of a step: as the facts keep it, and the columns in which it is measured."""

from typing import Final

import polars as pl

from pipelines.subjects.measures import HISTOGRAM_COLUMNS, PERCENTILES
from pipelines.subjects.rollup import Mask

# A key of an index has no room for more.
LONGEST_NAME: Final = 200

# One line of a log that names a step; `completed_at` is when it was written, which is when the step ended.
STEP_FACT_COLUMNS: Final[dict[str, pl.DataType]] = {
    "log_id": pl.Binary(),
    "organization_id": pl.Binary(),
    "job_id": pl.Binary(),
    "workflow_id": pl.Binary(),
    "step_name": pl.String(),
    "level": pl.String(),
    "completed_at": pl.Datetime("us", "UTC"),
    "duration_us": pl.Int64(),
    "row_hash": pl.Int64(),
}

STEP_DIMENSIONS: Final[dict[str, Mask]] = {"workflow_id": Mask.WORKFLOW, "step_name": Mask.STEP}

STEP_KEY_COLUMNS: Final = ("organization_id", "period", "period_start", *STEP_DIMENSIONS)

STEP_COUNT_COLUMNS: Final = (
    "total_executions",
    "completed_executions",
    "warned_executions",
    "failed_executions",
    "timed_executions",
)

STEP_FIGURE_COLUMNS: Final = (
    *STEP_COUNT_COLUMNS,
    "total_duration_ms",
    "average_duration_ms",
    "min_duration_ms",
    "max_duration_ms",
    *PERCENTILES,
)

STEP_CELL_COLUMNS: Final = (*STEP_KEY_COLUMNS, *STEP_FIGURE_COLUMNS, *HISTOGRAM_COLUMNS)
