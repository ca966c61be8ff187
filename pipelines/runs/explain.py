"""One cell, explained: its figures, the jobs behind them, when they changed, why, and what they were."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import polars as pl

from pipelines.calendars.moments import DayOrTime, instant_of
from pipelines.calendars.wall_clock import WallClock
from pipelines.compute.chunks import in_buckets
from pipelines.errors import CellNotFound
from pipelines.facts.fact_table import open_facts
from pipelines.facts.health import reading_facts
from pipelines.postgres.connections import Connection, Databases, connect
from pipelines.postgres.schema_checks import require_analytics
from pipelines.postgres.statements import statement
from pipelines.settings import Settings
from pipelines.state.retention import find_removed_before
from pipelines.state.time_zones import ReadCalendar, find_calendar
from pipelines.state.watermarks import Progress, find_progress
from pipelines.subjects.dimensions import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS
from pipelines.subjects.measures import DIMENSIONS, FIGURE_COLUMNS
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import Restated
from pipelines.subjects.rollup import Mask
from pipelines.subjects.subject import JOBS, with_named_groups

Figures = Mapping[str, float | None]

_ALL: Final = {"workflow_id": ALL_WORKFLOWS, "client_id": ALL_CLIENTS, "initiator_type": ALL_INITIATORS}


@dataclass(frozen=True)
class CellName:
    """Which cell is meant: `start` lies in its bucket, by the organization's clocks or as an instant.

    Where there is no such cell, an instant that is the exact start of an older one, from before the
    organization's time zone changed, names that.
    """

    organization_id: UUID
    period: Period
    start: DayOrTime
    workflow_id: UUID = ALL_WORKFLOWS
    client_id: UUID = ALL_CLIENTS
    initiator_type: str = ALL_INITIATORS


@dataclass(frozen=True)
class Restatement:
    """One change after the period was over; figures are None where there was no cell, or is none any more.

    The old ones were written at `old_since`: None where there was no cell, or nobody wrote it down yet.
    """

    restated_at: datetime
    run_id: UUID
    reason: Restated
    old_since: datetime | None
    old: Figures | None
    new: Figures | None


class Occasion(StrEnum):
    """On what occasion a cell changed that was not restated."""

    OPEN = "open"
    PUBLISHED = "published"
    NOT_ON_RECORD = "not_on_record"


class Evidence(StrEnum):
    """What tells a cell's figures at an earlier moment, or why nothing does."""

    UNCHANGED = "unchanged"
    RESTATED = "restated"
    OPEN = "open"
    NOT_PUBLISHED = "not_published"
    REMOVED = "removed"
    DRIFTED = "drifted"


@dataclass(frozen=True)
class AsOf:
    """What a cell showed at an earlier moment: only if that is `on_record`, and None if there was no cell.

    The figures stood from `since` until `until`; None where that is not on record, or they still stand.
    """

    moment: datetime
    on_record: bool
    evidence: Evidence
    figures: Figures | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Explanation:
    """What is known of one cell; `figures` is None when it is gone.

    `jobs` is how many facts are in it now. `because` says why it last changed: the reason of the newest
    restatement, or else the `Occasion`. `is_over` tells whether its period was over when the organization
    was last published.
    """

    organization_id: UUID
    period: Period
    period_start: datetime
    period_end: datetime
    time_zone: str
    workflow_id: UUID
    client_id: UUID
    initiator_type: str
    figures: Figures | None
    jobs: int
    is_over: bool
    changed_at: datetime
    because: Restated | Occasion
    definition_version: int | None
    restatements: tuple[Restatement, ...]
    as_of: AsOf | None


def explain(
    databases: Databases, settings: Settings, name: CellName, *, as_of: DayOrTime | None = None
) -> Explanation:
    """What is known of a cell, and what it showed at an earlier moment.

    Raises `CellNotFound`, `SchemaMissing`, `FactsUnusable`.
    """
    require_analytics(databases, settings)
    with connect(databases.analytics_url, settings) as analytics:
        analytics.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        progress = find_progress(analytics).get(name.organization_id)
        if progress is None:
            raise CellNotFound
        calendar = find_calendar(analytics)
        clock = calendar.clock_of(name.organization_id)
        found = _found(analytics, name, _starts(clock, name))
        records = _Records.of(analytics, name.organization_id)
        if found is None:
            raise CellNotFound(_hint(analytics, settings, clock, name))
    end = clock.end(name.period, found.start)
    return Explanation(
        organization_id=name.organization_id,
        period=name.period,
        period_start=found.start,
        period_end=end,
        time_zone=progress.time_zone,
        workflow_id=name.workflow_id,
        client_id=name.client_id,
        initiator_type=name.initiator_type,
        figures=found.figures,
        jobs=_jobs(settings, calendar, name, found.start),
        is_over=_is_over(calendar, progress, name.period, found.start),
        changed_at=found.computed_at or found.restatements[-1].restated_at,
        because=_because(found, end, records),
        definition_version=found.definition_version,
        restatements=found.restatements,
        as_of=_as_of(clock.instant(as_of), found, end, records) if as_of else None,
    )


@dataclass(frozen=True)
class _Found:
    start: datetime
    computed_at: datetime | None
    definition_version: int | None
    figures: Figures | None
    restatements: tuple[Restatement, ...]


@dataclass(frozen=True)
class _Records:
    first_published_at: datetime | None
    removed_before: datetime | None

    @classmethod
    def of(cls, analytics: Connection, organization_id: UUID) -> "_Records":
        values = {"organization_id": organization_id}
        row = analytics.execute(statement("explain/records"), values).fetchone()
        assert row is not None
        return cls(*row)


def _starts(clock: WallClock, name: CellName) -> tuple[datetime, ...]:
    """Where the bucket begins, the likeliest first."""
    asked = clock.instant(name.start)
    start = clock.start(name.period, asked)
    return (start, asked) if instant_of(name.start) else (start,)


def _found(analytics: Connection, name: CellName, starts: Sequence[datetime]) -> _Found | None:
    values = {
        "organization_id": name.organization_id,
        "period": name.period,
        "starts": list(starts),
        "workflow_id": name.workflow_id,
        "client_id": name.client_id,
        "initiator_type": name.initiator_type,
    }
    cells = analytics.execute(statement("explain/cell"), values).fetchall()
    restatements = analytics.execute(statement("explain/restatements"), values).fetchall()
    for start in starts:
        cell = next((row for row in cells if row[0] == start), (start, None, None, None))
        changes = tuple(_restatement(row) for row in restatements if row[0] == start)
        if cell[1] or changes:
            return _Found(start, cell[1], cell[2], _figures(cell[3:]), changes)
    return None


def _restatement(row: Sequence[Any]) -> Restatement:
    figures = row[5:]
    old, new = figures[: len(FIGURE_COLUMNS)], figures[len(FIGURE_COLUMNS) :]
    return Restatement(row[1], row[2], Restated(row[3]), row[4], _figures(old), _figures(new))


def _figures(values: Sequence[Any]) -> Figures | None:
    return dict(zip(FIGURE_COLUMNS, values, strict=True)) if values[0] is not None else None


def _hint(analytics: Connection, settings: Settings, clock: WallClock, name: CellName) -> str:
    """Why there is no such cell, if that is to be told."""
    chosen = Mask.TOTAL
    for column, mask in DIMENSIONS.items():
        if getattr(name, column) != _ALL[column]:
            chosen |= mask
    if chosen not in settings.rollup_plan[name.period]:
        return f"(EXECMETRICS_ROLLUP_PLAN does not combine these dimensions for each {name.period})"
    removed_before = find_removed_before(analytics).get(name.period)
    if removed_before and _starts(clock, name)[0] < removed_before:
        return f"(those of before {removed_before:%Y-%m-%d} were removed, as EXECMETRICS_KEEP_HOURS says)"
    return ""


def _jobs(settings: Settings, calendar: ReadCalendar, name: CellName, start: datetime) -> int:
    """How many facts are in the cell."""
    bucket = pl.DataFrame(
        {
            "organization_id": [name.organization_id.bytes],
            "period_start": pl.Series([start], dtype=pl.Datetime("us", "UTC")),
        }
    )
    with reading_facts(settings.facts_location):
        jobs = in_buckets(open_facts(settings).scan(), bucket, name.period, calendar.calendar)
        counted = with_named_groups(jobs, JOBS).filter(*_wanted(name)).select(pl.len())
        return int(counted.collect().item())


def _wanted(name: CellName) -> Iterable[pl.Expr]:
    for column, everything in _ALL.items():
        value = getattr(name, column)
        if value != everything:
            yield pl.col(column) == pl.lit(value.bytes if isinstance(value, UUID) else value)


def _is_over(calendar: ReadCalendar, progress: Progress, period: Period, start: datetime) -> bool:
    """Whether another bucket had begun up to where the organization is complete."""
    open_since = calendar.open_since({progress.organization_id: progress.complete_through})
    begun: datetime = open_since.filter(pl.col("period") == period.value)["period_start"].item()
    return start < begun


def _because(found: _Found, end: datetime, records: _Records) -> Restated | Occasion:
    if found.restatements or found.computed_at is None:
        return found.restatements[-1].reason
    if found.computed_at < end:
        return Occasion.OPEN
    removed = records.removed_before is not None and found.computed_at < records.removed_before
    return Occasion.NOT_ON_RECORD if removed else Occasion.PUBLISHED


def _as_of(moment: datetime, found: _Found, end: datetime, records: _Records) -> AsOf:
    earlier = [each for each in found.restatements if each.restated_at <= moment]
    later = [each for each in found.restatements if each.restated_at > moment]
    since = earlier[-1].restated_at if earlier else None
    if not later:
        if found.computed_at is None or found.computed_at <= moment:
            return AsOf(moment, True, Evidence.UNCHANGED, found.figures, since or found.computed_at)
    elif later[0].reason is Restated.DRIFT:
        # Nobody knows since when they were wrong.
        return AsOf(moment, False, Evidence.DRIFTED)
    elif earlier or _stood(later[0], moment, records):
        return AsOf(
            moment, True, Evidence.RESTATED, later[0].old, since or later[0].old_since, later[0].restated_at
        )
    if moment < end:
        return AsOf(moment, False, Evidence.OPEN)
    removed = records.removed_before is not None and moment < records.removed_before
    return AsOf(moment, False, Evidence.REMOVED if removed else Evidence.NOT_PUBLISHED)


def _stood(change: Restatement, moment: datetime, records: _Records) -> bool:
    """Whether the figures before a change were those that a reader saw at an earlier moment."""
    since = change.old_since or records.first_published_at
    return since is not None and since <= moment
