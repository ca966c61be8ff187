"""How one tenant's jobs ended and how long they took, over any range that is made of what is stored."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Final
from uuid import UUID

from pipelines.compute.cover import Cover, Span
from pipelines.compute.wall_clock import WallClock
from pipelines.errors import (
    ClientNotVisible,
    InvalidRange,
    RangeNotStored,
    UnknownMeasure,
    WorkflowNotVisible,
)
from pipelines.model.metrics import FIGURE_COLUMNS, PERCENTILES, WITH_HISTOGRAM
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import ROLLUP_PLAN, Mask, RollupPlan
from pipelines.model.sentinels import ALL_OF_EACH, NO_CLIENT
from pipelines.repositories.figures import Sources, durations_of, metric_of, percentiles_of, stats_of
from pipelines.repositories.records import (
    ClientExecutionStats,
    Completeness,
    DurationPercentiles,
    DurationStats,
    ExecutionStats,
    InitiatorExecutionStats,
    MetricRow,
    WorkflowExecutionStats,
)
from pipelines.repositories.slices import EACH, Each, Slice
from pipelines.storage.database import Connection
from pipelines.storage.retention import find_removed_before
from pipelines.storage.tenant_reading import Row, answering, rows
from pipelines.tenancy import Tenant

# So many rows fit a page and a client's memory.
MOST_ROWS: Final = 10_000

# The period's start, workflow, client and initiator of the row after which to go on.
Place = tuple[datetime, UUID, UUID, str]


class AnalyticsRepository:
    """One tenant's metrics, read in the transaction of a connection; every question is one query.

    Ranges are [since, until), with time zones. A workflow, client (`NO_CLIENT` for jobs without) or initiator
    that is not named is all of them together. Raises `InvalidRange`, `RangeNotStored`, `UnknownMeasure`,
    `WorkflowNotVisible`, `ClientNotVisible` and `AnalyticsQueryError`.
    """

    def __init__(self, connection: Connection, tenant: Tenant, plan: RollupPlan = ROLLUP_PLAN) -> None:
        self._connection, self._tenant, self._plan = connection, tenant, plan

    def get_average_execution_duration(
        self,
        *,
        since: datetime,
        until: datetime,
        workflow_id: UUID | None = None,
        client: UUID | None = None,
        initiator: str | None = None,
    ) -> DurationStats:
        """How many jobs completed in the range, and how long they took on average, at least and at most."""
        asked = Slice(workflow_id, client, initiator)
        sources = Sources(self._spans(asked.mask, *_ordered(since, until)))
        return durations_of(self._figures("total", asked, sources)[0])

    def get_execution_duration_percentiles(
        self,
        *,
        since: datetime,
        until: datetime,
        workflow_id: UUID | None = None,
        client: UUID | None = None,
        initiator: str | None = None,
    ) -> DurationPercentiles:
        """Median, p90, p95 and p99: exact over one stored bucket, estimated where histograms are kept."""
        stats = self.get_execution_stats(
            since=since, until=until, workflow_id=workflow_id, client=client, initiator=initiator
        )
        return stats.percentiles

    def get_execution_stats(
        self,
        *,
        since: datetime,
        until: datetime,
        workflow_id: UUID | None = None,
        client: UUID | None = None,
        initiator: str | None = None,
    ) -> ExecutionStats:
        """Both of these, which costs one query."""
        asked = Slice(workflow_id, client, initiator)
        sources = self._sources(asked.mask, since, until)
        return stats_of(self._figures("total", asked, sources)[0], sources)

    def get_workflow_execution_stats(
        self,
        *,
        since: datetime,
        until: datetime,
        client: UUID | None = None,
        initiator: str | None = None,
    ) -> tuple[WorkflowExecutionStats, ...]:
        """Every workflow in use with its name, those that take longest on average first, idle ones last."""
        asked = Slice(EACH, client, initiator)
        sources = self._sources(asked.mask, since, until)
        return tuple(
            WorkflowExecutionStats(
                workflow_id=row["which"],
                name=row["name"],
                durations=durations_of(row),
                percentiles=percentiles_of(row, sources),
            )
            for row in self._each("by_workflow", asked, sources)
        )

    def get_client_execution_stats(
        self,
        *,
        since: datetime,
        until: datetime,
        workflow_id: UUID | None = None,
        initiator: str | None = None,
    ) -> tuple[ClientExecutionStats, ...]:
        """Every client in use likewise, and the jobs without one if there are any."""
        asked = Slice(workflow_id, EACH, initiator)
        sources = self._sources(asked.mask, since, until)
        return tuple(
            ClientExecutionStats(
                client_id=None if row["which"] == NO_CLIENT else row["which"],
                has_no_client=row["which"] == NO_CLIENT,
                name=row["name"],
                durations=durations_of(row),
                percentiles=percentiles_of(row, sources),
            )
            for row in self._each("by_client", asked, sources)
        )

    def get_initiator_execution_stats(
        self,
        *,
        since: datetime,
        until: datetime,
        workflow_id: UUID | None = None,
        client: UUID | None = None,
    ) -> tuple[InitiatorExecutionStats, ...]:
        """Every initiator type that started a job, those whose jobs take longest on average first."""
        asked = Slice(workflow_id, client, EACH)
        sources = self._sources(asked.mask, since, until)
        return tuple(
            InitiatorExecutionStats(
                initiator_type=row["which"],
                durations=durations_of(row),
                percentiles=percentiles_of(row, sources),
            )
            for row in self._each("by_initiator", asked, sources)
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
        asked = Slice(workflow, client, initiator)
        self._require_kept(period, asked.mask)
        self._kept([Span(period, since, until)])
        start, *keys = after or (None, None, None, None)
        values = dict(asked.values) | {
            "period": period.value,
            "since": since,
            "until": until,
            "after_start": start,
            "after_workflow": keys[0],
            "after_client": keys[1],
            "after_initiator": keys[2],
            "rows": rows,
        }
        return tuple(metric_of(row, period, measures) for row in self._rows("metrics", values))

    def get_completeness(self) -> Completeness | None:
        """Through when the metrics are complete; None when nothing was published yet."""
        for row in self._rows("completeness", {}):
            return Completeness(
                organization_name=row["organization_name"],
                complete_through=row["complete_through"],
                extracted_at=row["extracted_at"],
                published_at=row["published_at"],
                published_version=row["published_version"],
                edition=row["edition"],
                verified_at=row["verified_at"],
                time_zone=row["time_zone"],
            )
        return None

    def _require_kept(self, period: Period, mask: Mask) -> None:
        """Nothing kept is not the same as nothing happened."""
        if mask not in self._plan[period]:
            kept = ", ".join(f"{each}s" for each in Period if mask in self._plan[each])
            raise RangeNotStored(f"(whole {kept})" if kept else "(nothing: these are not kept together)")

    @cached_property
    def _clock(self) -> WallClock:
        return WallClock([(row["since"], row["offset_s"]) for row in self._rows("zone_offsets", {})])

    @cached_property
    def _removed_before(self) -> Mapping[Period, datetime]:
        with answering():
            return find_removed_before(self._connection)

    def _spans(
        self, mask: Mask, since: datetime, until: datetime, *, among: Collection[Period] = tuple(Period)
    ) -> Sequence[Span]:
        return self._kept(self._cover(mask, among=among).of(since, until))

    def _kept(self, spans: Sequence[Span]) -> Sequence[Span]:
        """The same, unless retention has removed some of their cells, which would look like no jobs."""
        for span in spans:
            removed_before = self._removed_before.get(span.period)
            if removed_before and span.since < removed_before:
                raise RangeNotStored(
                    f"({span.period}s that began before {removed_before.isoformat()} are no longer kept)"
                )
        return spans

    def _cover(self, mask: Mask, *, among: Collection[Period] = tuple(Period)) -> Cover:
        periods = [period for period in among if mask in self._plan[period]]
        return Cover(self._clock, periods)

    def _sources(self, mask: Mask, since: datetime, until: datetime) -> Sources:
        since, until = _ordered(since, until)
        bucket = self._cover(mask).bucket_of(since, until)
        if bucket:
            return Sources(self._kept([Span(bucket, since, until)]), exact=True)
        spans = self._spans(mask, since, until)
        try:
            return Sources(spans, histograms=self._spans(mask, since, until, among=WITH_HISTOGRAM))
        except RangeNotStored:
            # Counts and means are known all the same.
            return Sources(spans)

    def _each(self, name: str, asked: Slice, sources: Sources) -> list[Row]:
        return [row for row in self._figures(name, asked, sources) if row["which"] is not None]

    def _figures(self, name: str, asked: Slice, sources: Sources) -> list[Row]:
        """What a statement over the sums gives: one row or more, which say whether the named are visible."""
        values = dict(asked.values) | {
            "no_client": NO_CLIENT,
            "periods": [span.period.value for span in sources.spans],
            "since": [span.since for span in sources.spans],
            "until": [span.until for span in sources.spans],
            "histogram_periods": [span.period.value for span in sources.histograms],
            "histogram_since": [span.since for span in sources.histograms],
            "histogram_until": [span.until for span in sources.histograms],
            "shares": list(PERCENTILES.values()),
        }
        found = self._rows(name, values)
        if not found[0]["workflow_is_visible"]:
            raise WorkflowNotVisible
        if not found[0]["client_is_visible"]:
            raise ClientNotVisible
        return found

    def _rows(self, name: str, values: Mapping[str, object]) -> list[Row]:
        mine = {"organization_id": self._tenant.organization_id}
        return rows(self._connection, f"read/of_tenant/{name}.sql", ALL_OF_EACH | dict(values) | mine)


def _ordered(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    if since.tzinfo is None or until.tzinfo is None or since >= until:
        raise InvalidRange(f"({since.isoformat()} to {until.isoformat()})")
    return since, until
