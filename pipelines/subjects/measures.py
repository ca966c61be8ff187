"""The figures of one cell, and the columns they are kept in."""

from typing import Final

from pipelines.subjects.periods import Period
from pipelines.subjects.rollup import Mask

# Columns and shares of PostgreSQL's `percentile_cont` (linear interpolation at rank (n - 1) * share).
PERCENTILES: Final[dict[str, float]] = {
    "median_duration_ms": 0.5,
    "p90_duration_ms": 0.9,
    "p95_duration_ms": 0.95,
    "p99_duration_ms": 0.99,
}

DIMENSIONS: Final[dict[str, Mask]] = {
    "workflow_id": Mask.WORKFLOW,
    "client_id": Mask.CLIENT,
    "initiator_type": Mask.INITIATOR,
}

KEY_COLUMNS: Final = ("organization_id", "period", "period_start", *DIMENSIONS)

COUNT_COLUMNS: Final = ("total_executions", "completed_executions", "failed_executions", "timed_executions")

FIGURE_COLUMNS: Final = (
    *COUNT_COLUMNS,
    "success_rate_pct",
    "total_duration_ms",
    "average_duration_ms",
    "min_duration_ms",
    "max_duration_ms",
    *PERCENTILES,
)

# What rows of one period and of the same dimensions may be added up to.
ADDITIVE: Final = (*COUNT_COLUMNS, "total_duration_ms")

# How many timed jobs took about how long, see `histogram`: for periods that are added up to other ranges.
HISTOGRAM_COLUMNS: Final = ("histogram_buckets", "histogram_counts")
WITH_HISTOGRAM: Final = (Period.HOUR, Period.DAY)

CELL_COLUMNS: Final = (*KEY_COLUMNS, *FIGURE_COLUMNS, *HISTOGRAM_COLUMNS)

# Polars' names of our buckets; ISO weeks begin on Monday.
TRUNCATIONS: Final[dict[Period, str]] = {
    Period.HOUR: "1h",
    Period.DAY: "1d",
    Period.WEEK: "1w",
    Period.MONTH: "1mo",
}
