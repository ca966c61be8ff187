"""How one tenant's jobs ended and how long they took, over any range that is made of what is stored."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from pipelines.calendars.moments import DayOrTime
from pipelines.errors import ClientNotVisible, UnknownMeasure, WorkflowNotVisible
from pipelines.postgres.connections import Connection
from pipelines.query.cover import Span
from pipelines.query.figures import Sources, durations_of, metric_of, percentiles_of, stats_of
from pipelines.query.ranges import Instants, Ranges, ordered
from pipelines.query.records import (
    ClientExecutionStats,
    Completeness,
    DurationPercentiles,
    DurationStats,
    ExecutionStats,
    InitiatorExecutionStats,
    MetricRow,
    WorkflowExecutionStats,
)
from pipelines.query.slices import EACH, Each, Slice
from pipelines.query.tenant import Tenant
from pipelines.query.tenant_reading import Row, rows
from pipelines.subjects.dimensions import ALL_OF_EACH, NO_CLIENT
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period, RollupPlan

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

    def __init__(self, connection: Connection, tenant: Tenant, plan: RollupPlan = JOBS.rollup) -> None:
        self._connection, self._tenant = connection, tenant
        self._ranges = Ranges(connection, tenant, plan)

    def get_instants(self, since: DayOrTime, until: DayOrTime) -> Instants:
        """The ends of a range that is written in dates or local times; an instant stays what it is."""
        return self._ranges.instants(since, until)

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
        sources = Sources(self._ranges.spans(asked.grouping_set, *ordered(since, until)))
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
        sources = self._ranges.sources(asked.grouping_set, since, until)
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
        sources = self._ranges.sources(asked.grouping_set, since, until)
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
        sources = self._ranges.sources(asked.grouping_set, since, until)
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
        sources = self._ranges.sources(asked.grouping_set, since, until)
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
        measures: Collection[str] = JOBS.measure_columns,
        after: Place | None = None,
        rows: int = MOST_ROWS,
    ) -> tuple[MetricRow, ...]:
        """The stored rows of a period that begin in the range, in the order of their keys, `rows` at most.

        A dimension is all together (None), one (an id; `NO_CLIENT` for jobs without), or `EACH`.
        """
        unknown = sorted(set(measures) - set(JOBS.measure_columns))
        if unknown:
            raise UnknownMeasure(f"({', '.join(unknown)})")
        since, until = ordered(since, until)
        asked = Slice(workflow, client, initiator)
        self._ranges.require_kept(period, asked.grouping_set)
        self._ranges.kept([Span(period, since, until)])
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

    def _each(self, name: str, asked: Slice, sources: Sources) -> list[Row]:
        return [row for row in self._figures(name, asked, sources) if row["which"] is not None]

    def _figures(self, name: str, asked: Slice, sources: Sources) -> list[Row]:
        """What a statement over the sums gives: one row or more, which say whether the named are visible."""
        values = {**asked.values, "no_client": NO_CLIENT, **sources.values}
        found = self._rows(name, values)
        if not found[0]["workflow_is_visible"]:
            raise WorkflowNotVisible
        if not found[0]["client_is_visible"]:
            raise ClientNotVisible
        return found

    def _rows(self, name: str, values: Mapping[str, object]) -> list[Row]:
        mine = {"organization_id": self._tenant.organization_id}
        return rows(self._connection, f"tenant_metrics/{name}", ALL_OF_EACH | dict(values) | mine)
