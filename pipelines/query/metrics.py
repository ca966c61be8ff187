"""How one tenant's jobs and steps ended and how long they took, over ranges made of what is stored."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from pipelines.calendars.moments import DayOrTime
from pipelines.errors import ClientNotVisible, UnknownMeasure, WorkflowNotVisible
from pipelines.postgres.connections import Connection
from pipelines.postgres.subject_statements import every_values, figures_statement
from pipelines.query.ranges import Instants, Ranges, Span, ordered
from pipelines.query.records import (
    EACH,
    Choice,
    Completeness,
    Each,
    MetricRow,
    RangeFigures,
    figures_of,
    metric_of,
)
from pipelines.query.tenant import Row, Tenant, rows_of
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.measures import Kind
from pipelines.subjects.rollup import GroupingSet, Period, RollupPlan
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import Subject

# So many rows fit a page and a client's memory.
MOST_ROWS: Final = 10_000

# The period's start and the stored dimensions of the row after which to go on.
Place = tuple[datetime | UUID | str, ...]

_NOT_VISIBLE: Final = {"workflow_is_visible": WorkflowNotVisible, "client_is_visible": ClientNotVisible}


class AnalyticsRepository:
    """One tenant's metrics of a subject, read in the transaction of a connection; a question is one query.

    Ranges are [since, until), with time zones. A workflow, client (`NO_CLIENT` for jobs without) or initiator
    that is not named is all of them together. Raises `InvalidRange`, `RangeNotStored`, `UnknownMeasure`,
    `WorkflowNotVisible`, `ClientNotVisible` and `AnalyticsQueryError`.
    """

    def __init__(
        self, connection: Connection, tenant: Tenant, plan: RollupPlan = JOBS.rollup, subject: Subject = JOBS
    ) -> None:
        self._connection, self._tenant, self._subject = connection, tenant, subject
        self._ranges = Ranges(connection, tenant, plan)

    def get_instants(self, since: DayOrTime, until: DayOrTime) -> Instants:
        """The ends of a range that is written in dates or local times; an instant stays what it is."""
        return self._ranges.instants(since, until)

    def get_total(self, *, since: datetime, until: datetime, **named: UUID | str | None) -> RangeFigures:
        """The figures of a range as a whole, or of the dimensions that are named by their columns."""
        return self._figures("found", named, since, until)[0]

    def get_breakdown(
        self,
        by: str,
        *,
        since: datetime,
        until: datetime,
        longest: Kind = Kind.MEAN,
        **named: UUID | str | None,
    ) -> tuple[RangeFigures, ...]:
        """The figures for each value of the dimension `by`, the longest first by a kind of measure.

        Workflows and clients are those in use, idle ones last, and jobs without a client if there are any.
        Initiator types are those that started a job.
        """
        in_use = self._subject.dimension(by).type == "uuid"
        found = self._figures("in_use" if in_use else "found", {**named, by: EACH}, since, until, by, longest)
        return tuple(each for each in found if each.which is not None)

    def get_metrics(
        self,
        *,
        period: Period,
        since: datetime,
        until: datetime,
        measures: Collection[str] = JOBS.measure_columns,
        after: Place | None = None,
        rows: int = MOST_ROWS,
        **chosen: Choice,
    ) -> tuple[MetricRow, ...]:
        """The stored rows of a period that begin in the range, in the order of their keys, `rows` at most.

        A dimension is all together (None), one (an id; `NO_CLIENT` for jobs without), or `EACH`.
        """
        unknown = sorted(set(measures) - set(self._subject.measure_columns))
        if unknown:
            raise UnknownMeasure(f"({', '.join(unknown)})")
        since, until = ordered(since, until)
        grouping_set, dimensions = self._chosen(chosen)
        self._ranges.require_kept(period, grouping_set)
        self._ranges.kept([Span(period, since, until)])
        names = ("start", *self._subject.dimension_columns)
        values = dimensions | {
            "period": period.value,
            "since": since,
            "until": until,
            "rows": rows,
            **{f"after_{name}": key for name, key in zip(names, after or [None] * len(names), strict=True)},
        }
        return tuple(metric_of(row, self._subject, measures) for row in self._rows("metrics", values))

    def get_completeness(self) -> Completeness | None:
        """Through when the metrics are complete; None when nothing was published yet."""
        return next((Completeness(**row) for row in self._rows("completeness", {})), None)

    def _figures(
        self,
        name: str,
        choices: Mapping[str, Choice],
        since: datetime,
        until: datetime,
        by: str = "",
        longest: Kind = Kind.MEAN,
    ) -> list[RangeFigures]:
        """What a statement over the sums gives; raises where what is named is not the tenant's."""
        grouping_set, dimensions = self._chosen(choices)
        sources = self._ranges.sources(grouping_set, since, until)
        values = dimensions | sources.values | {"shares": list(self._subject.percentiles().values())}
        found = self._rows(name, values, by=by, longest=longest)
        for column, refusal in _NOT_VISIBLE.items():
            if not found[0].get(column, True):
                raise refusal
        return [figures_of(row, self._subject, sources) for row in found]

    def _chosen(self, choices: Mapping[str, Choice]) -> tuple[GroupingSet, dict[str, object]]:
        """By which dimensions the cells are broken down, and how a statement takes the choices.

        To a statement each value is NULL, and all together the value that stands for it.
        """
        unknown = set(choices) - set(self._subject.dimension_columns)
        if unknown:
            raise TypeError(f"{self._subject.name} have no dimension {', '.join(sorted(unknown))}")
        named = {name: choice for name, choice in choices.items() if choice is not None}
        values = {each.column: named.get(each.column, each.every) for each in self._subject.dimensions}
        given = {name: None if isinstance(value, Each) else value for name, value in values.items()}
        return frozenset(named), dict(given)

    def _rows(
        self, name: str, values: Mapping[str, object], *, by: str = "", longest: Kind = Kind.MEAN
    ) -> list[Row]:
        none = {f"none_{each.column}": each.none for each in self._subject.dimensions}
        mine = {"organization_id": self._tenant.organization_id}
        text = figures_statement(f"tenant_metrics/{name}", self._subject, by, longest)
        return rows_of(self._connection, text, {**every_values(self._subject), **none, **values, **mine})


class StepAnalyticsRepository(AnalyticsRepository):
    """One tenant's metrics of steps; raises as the one of jobs does."""

    def __init__(self, connection: Connection, tenant: Tenant) -> None:
        super().__init__(connection, tenant, STEPS.rollup, STEPS)

    def get_step_duration_stats(
        self, workflow_id: UUID | None = None, *, since: datetime, until: datetime
    ) -> tuple[RangeFigures, ...]:
        """Every step that ended in [since, until), of one workflow or of all, the longest together first."""
        named = {"workflow_id": workflow_id}
        return self.get_breakdown("step_name", since=since, until=until, longest=Kind.SUM, **named)
