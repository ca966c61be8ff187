"""How one tenant's jobs ended and how long they took, over any range that is made of what is stored."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from pipelines.compute.calendar import Calendar
from pipelines.compute.cover import Cover, Span
from pipelines.errors import InvalidRange, RangeNotStored, UnknownMeasure, WorkflowNotVisible
from pipelines.model.histogram import RELATIVE_ERROR, middle_ms
from pipelines.model.metrics import DIMENSIONS, FIGURE_COLUMNS, PERCENTILES, WITH_HISTOGRAM
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import ROLLUP_PLAN, Mask, RollupPlan
from pipelines.model.sentinels import (
    ALL_CLIENTS,
    ALL_INITIATORS,
    ALL_OF_EACH,
    ALL_WORKFLOWS,
    NO_CLIENT,
)
from pipelines.repositories.records import (
    Completeness,
    DurationPercentiles,
    DurationStats,
    MetricRow,
    WorkflowExecutionStats,
)
from pipelines.storage.calendars import find_calendar
from pipelines.storage.database import Connection
from pipelines.storage.tenant_reading import Row, answering, rows
from pipelines.tenancy import Tenant

# So many rows fit a page and a client's memory.
MOST_ROWS: Final = 10_000


class Each(Enum):
    """In place of one workflow, client or initiator: a row for each."""

    EACH = "each"


EACH: Final = Each.EACH

# The period's start, workflow, client and initiator of the row after which to go on.
Place = tuple[datetime, UUID, UUID, str]


class AnalyticsRepository:
    """One tenant's metrics, read in the transaction of a connection; every question is one query.

    Ranges are [since, until), with time zones. Raises `InvalidRange`, `RangeNotStored`, `UnknownMeasure`,
    `WorkflowNotVisible` and `AnalyticsQueryError`.
    """

    def __init__(self, connection: Connection, tenant: Tenant, plan: RollupPlan = ROLLUP_PLAN) -> None:
        self._connection, self._tenant, self._plan = connection, tenant, plan

    def get_average_execution_duration(
        self, *, since: datetime, until: datetime, workflow_id: UUID | None = None
    ) -> DurationStats:
        """How many jobs completed in the range, and how long they took on average, at least and at most."""
        mask = Mask.TOTAL if workflow_id is None else Mask.WORKFLOW
        spans = self._cover(mask).of(*_ordered(since, until))
        return _durations(self._total(spans, (), workflow_id))

    def get_execution_duration_percentiles(
        self, *, since: datetime, until: datetime, workflow_id: UUID | None = None
    ) -> DurationPercentiles:
        """Median, p90, p95 and p99: exact over one stored bucket, else estimated from histograms."""
        mask = Mask.TOTAL if workflow_id is None else Mask.WORKFLOW
        spans, histograms = self._with_percentiles(mask, since, until)
        return _percentiles(self._total(spans, histograms, workflow_id), estimated=bool(histograms))

    def get_workflow_execution_stats(
        self, *, since: datetime, until: datetime
    ) -> tuple[WorkflowExecutionStats, ...]:
        """Every workflow in use with its name, those that take longest on average first, idle ones last."""
        spans, histograms = self._with_percentiles(Mask.WORKFLOW, since, until)
        found = self._rows("by_workflow", _asked(spans, histograms, workflow_id=EACH))
        return tuple(
            WorkflowExecutionStats(
                workflow_id=row["workflow_id"],
                name=row["name"],
                durations=_durations(row),
                percentiles=_percentiles(row, estimated=bool(histograms)),
            )
            for row in found
        )

    def get_metrics(
        self,
        *,
        period: Period,
        since: datetime,
        until: datetime,
        workflow: UUID | Each | None = None,
        client: UUID | Each | None = None,
        initiator: str | Each | None = None,
        measures: Collection[str] = FIGURE_COLUMNS,
        after: Place | None = None,
        rows: int = MOST_ROWS,
    ) -> tuple[MetricRow, ...]:
        """The stored rows of a period that begin in the range, in the order of their keys, `rows` at most.

        A dimension is all together (None), one (an id; `NO_CLIENT` for jobs without), or `EACH`.
        """
        unknown = sorted(set(measures) - set(FIGURE_COLUMNS))
        if unknown:
            raise UnknownMeasure(f"({', '.join(unknown)})")
        since, until = _ordered(since, until)
        self._require_kept(period, [asked is not None for asked in (workflow, client, initiator)])
        start, *keys = after or (None, None, None, None)
        values = _dimensions(workflow, client, initiator) | {
            "period": period.value,
            "since": since,
            "until": until,
            "after_start": start,
            "after_workflow": keys[0],
            "after_client": keys[1],
            "after_initiator": keys[2],
            "rows": rows,
        }
        return tuple(_metric(row, period, measures) for row in self._rows("metrics", values))

    def get_completeness(self) -> Completeness | None:
        """Through when the metrics are complete; None when nothing was published yet."""
        for row in self._rows("completeness", {}):
            return Completeness(
                complete_through=row["complete_through"],
                extracted_at=row["extracted_at"],
                published_at=row["published_at"],
                published_version=row["published_version"],
                verified_at=row["verified_at"],
                time_zone=row["time_zone"],
            )
        return None

    def _require_kept(self, period: Period, broken_down: Sequence[bool]) -> None:
        """Nothing kept is not the same as nothing happened."""
        mask = Mask.TOTAL
        for dimension, by_it in zip(DIMENSIONS.values(), broken_down, strict=True):
            mask |= dimension if by_it else Mask.TOTAL
        if mask not in self._plan[period]:
            kept = ", ".join(f"{each}s" for each in Period if mask in self._plan[each])
            raise RangeNotStored(f"(whole {kept})" if kept else "(nothing: these are not kept together)")

    @cached_property
    def _calendar(self) -> Calendar:
        with answering():
            return find_calendar(self._connection).calendar

    def _cover(self, mask: Mask, *, among: Collection[Period] = tuple(Period)) -> Cover:
        periods = [period for period in among if mask in self._plan[period]]
        return Cover(self._calendar, self._tenant.organization_id, periods)

    def _with_percentiles(
        self, mask: Mask, since: datetime, until: datetime
    ) -> tuple[Sequence[Span], Sequence[Span]]:
        """The spans to add up, and those whose histograms tell the percentiles: none if a row has them."""
        since, until = _ordered(since, until)
        cover = self._cover(mask)
        bucket = cover.bucket_of(since, until)
        if bucket:
            return (Span(bucket, since, until),), ()
        return cover.of(since, until), self._cover(mask, among=WITH_HISTOGRAM).of(since, until)

    def _total(self, spans: Sequence[Span], histograms: Sequence[Span], workflow_id: UUID | None) -> Row:
        (row,) = self._rows("total", _asked(spans, histograms, workflow_id=workflow_id))
        if not row["visible"]:
            raise WorkflowNotVisible
        return row

    def _rows(self, name: str, values: Mapping[str, object]) -> list[Row]:
        mine = {"organization_id": self._tenant.organization_id}
        return rows(self._connection, f"read/of_tenant/{name}.sql", ALL_OF_EACH | dict(values) | mine)


def _ordered(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    if since.tzinfo is None or until.tzinfo is None or since >= until:
        raise InvalidRange(f"({since.isoformat()} to {until.isoformat()})")
    return since, until


def _asked(
    spans: Sequence[Span], histograms: Sequence[Span], *, workflow_id: UUID | Each | None
) -> dict[str, object]:
    return _dimensions(workflow_id, None, None) | {
        "periods": [span.period.value for span in spans],
        "since": [span.since for span in spans],
        "until": [span.until for span in spans],
        "histogram_periods": [span.period.value for span in histograms],
        "histogram_since": [span.since for span in histograms],
        "histogram_until": [span.until for span in histograms],
        "shares": list(PERCENTILES.values()),
    }


def _dimensions(
    workflow: UUID | Each | None, client: UUID | Each | None, initiator: str | Each | None
) -> dict[str, object]:
    return {
        "workflow_id": _one(workflow, ALL_WORKFLOWS),
        "client_id": _one(client, ALL_CLIENTS),
        "initiator_type": _one(initiator, ALL_INITIATORS),
    }


def _one(asked: Any, everything: Any) -> Any:
    if asked is EACH:
        return None
    return everything if asked is None else asked


def _durations(row: Row) -> DurationStats:
    timed = row["timed_executions"] or 0
    return DurationStats(
        total_executions=row["total_executions"] or 0,
        completed_executions=row["completed_executions"] or 0,
        failed_executions=row["failed_executions"] or 0,
        timed_executions=timed,
        average_duration_ms=row["total_duration_ms"] / timed if timed else None,
        min_duration_ms=row["min_duration_ms"],
        max_duration_ms=row["max_duration_ms"],
    )


def _percentiles(row: Row, *, estimated: bool) -> DurationPercentiles:
    figures = _estimates(row) if estimated else {name: row[name] for name in PERCENTILES}
    return DurationPercentiles(
        timed_executions=row["timed_executions"] or 0,
        median_duration_ms=figures["median_duration_ms"],
        p90_duration_ms=figures["p90_duration_ms"],
        p95_duration_ms=figures["p95_duration_ms"],
        p99_duration_ms=figures["p99_duration_ms"],
        estimated=estimated,
        relative_error=RELATIVE_ERROR if estimated else 0.0,
    )


def _estimates(row: Row) -> Mapping[str, float | None]:
    """Each percentile between the middles of the two buckets around it, and never beyond the extremes."""
    if not row["timed_executions"]:
        return dict.fromkeys(PERCENTILES)
    found: dict[str, float | None] = {}
    for (name, share), low, high in zip(PERCENTILES.items(), row["low"], row["high"], strict=True):
        rank = share * (row["timed_executions"] - 1)
        between = middle_ms(low) + (rank - int(rank)) * (middle_ms(high) - middle_ms(low))
        found[name] = min(max(between, row["min_duration_ms"]), row["max_duration_ms"])
    return found


def _metric(row: Row, period: Period, measures: Collection[str]) -> MetricRow:
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
