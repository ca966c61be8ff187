"""From a row of sums to what a tenant is told, and from buckets of durations to percentiles."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipelines.query.cover import Span
from pipelines.query.records import DurationPercentiles, DurationStats, ExecutionStats, MetricRow
from pipelines.subjects.dimensions import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS, NO_CLIENT
from pipelines.subjects.histogram import RELATIVE_ERROR, middle_ms
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period

Row = Mapping[str, Any]

_NOT_TOLD: Final[Mapping[str, float | None]] = dict.fromkeys(JOBS.percentiles())


@dataclass(frozen=True)
class Sources:
    """What a range is added up from: the spans of cells, and those whose histograms tell the percentiles.

    One bucket has its percentiles itself (`exact`) and needs no histogram; without either nothing tells them.
    """

    spans: Sequence[Span]
    exact: bool = False
    histograms: Sequence[Span] = ()

    @property
    def values(self) -> Mapping[str, object]:
        """The same for a statement, and which percentiles are wanted."""
        return {
            "periods": [span.period.value for span in self.spans],
            "since": [span.since for span in self.spans],
            "until": [span.until for span in self.spans],
            "histogram_periods": [span.period.value for span in self.histograms],
            "histogram_since": [span.since for span in self.histograms],
            "histogram_until": [span.until for span in self.histograms],
            "shares": list(JOBS.percentiles().values()),
        }


def durations_of(row: Row) -> DurationStats:
    """Counts and means; nothing was counted where the sums are NULL."""
    return DurationStats(
        total_executions=row["total_executions"] or 0,
        completed_executions=row["completed_executions"] or 0,
        failed_executions=row["failed_executions"] or 0,
        timed_executions=row["timed_executions"] or 0,
        average_duration_ms=row["average_duration_ms"],
        min_duration_ms=row["min_duration_ms"],
        max_duration_ms=row["max_duration_ms"],
    )


def percentiles_of(row: Row, sources: Sources) -> DurationPercentiles:
    """Those of the one bucket, or estimates, or none where what is kept does not tell."""
    timed = row["timed_executions"] or 0
    # After a removal, or before cells of an older definition are computed anew, some histograms are missing.
    estimated = bool(sources.histograms) and (row["told_executions"] or 0) == timed
    figures: Row = row if sources.exact else _estimates(row) if estimated else _NOT_TOLD
    return DurationPercentiles(
        timed_executions=timed,
        median_duration_ms=figures["median_duration_ms"],
        p90_duration_ms=figures["p90_duration_ms"],
        p95_duration_ms=figures["p95_duration_ms"],
        p99_duration_ms=figures["p99_duration_ms"],
        estimated=estimated,
        relative_error=0.0 if sources.exact else RELATIVE_ERROR if estimated else None,
    )


def stats_of(row: Row, sources: Sources) -> ExecutionStats:
    """Both together."""
    return ExecutionStats(durations=durations_of(row), percentiles=percentiles_of(row, sources))


def metric_of(row: Row, period: Period, measures: Collection[str]) -> MetricRow:
    """A stored row without sentinels."""
    client = row["client_id"]
    return MetricRow(
        period=period,
        period_start=row["period_start"],
        workflow_id=None if row["workflow_id"] == ALL_WORKFLOWS else row["workflow_id"],
        client_id=None if client in (ALL_CLIENTS, NO_CLIENT) else client,
        has_no_client=client == NO_CLIENT,
        initiator_type=None if row["initiator_type"] == ALL_INITIATORS else row["initiator_type"],
        figures={name: row[name] for name in measures},
    )


def _estimates(row: Row) -> Mapping[str, float | None]:
    """Each percentile between the middles of the two buckets around it, and never beyond the extremes."""
    if not row["timed_executions"]:
        return _NOT_TOLD
    found: dict[str, float | None] = {}
    for (name, share), low, high in zip(JOBS.percentiles().items(), row["low"], row["high"], strict=True):
        rank = share * (row["timed_executions"] - 1)
        between = middle_ms(low) + (rank - int(rank)) * (middle_ms(high) - middle_ms(low))
        found[name] = min(max(between, row["min_duration_ms"]), row["max_duration_ms"])
    return found
