"""One cell, explained: its figures, the jobs behind them, when they changed, why, and what they were."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import polars as pl

from pipelines.calendars.moments import DayOrTime, WallClock, instant_of
from pipelines.compute.cells import with_none_members
from pipelines.compute.chunks import in_buckets
from pipelines.errors import CellNotFound
from pipelines.facts.fact_table import open_facts
from pipelines.facts.health import reading_facts
from pipelines.frames import schema_of, sentinel
from pipelines.postgres.connections import Connection, Run, connect
from pipelines.postgres.schema_checks import require_analytics
from pipelines.postgres.statements import statement
from pipelines.postgres.subject_statements import figures_in, subject_statement
from pipelines.settings import Settings
from pipelines.state.stored_cells import find_removed_before
from pipelines.state.time_zones import ReadCalendar, find_calendar
from pipelines.state.watermarks import Watermark, find_watermarks
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.reasons import Restated
from pipelines.subjects.rollup import Period
from pipelines.subjects.subject import Subject

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class CellName:
    """Which cell is meant: `start` lies in its bucket, by the organization's clocks or as an instant.

    `cell` names dimensions by column; others are all together. Where there is no such cell, an instant that
    is the exact start of an older one, from before the organization's time zone changed, names that.
    """

    organization_id: UUID
    period: Period
    start: DayOrTime
    cell: Mapping[str, UUID | str] = field(default_factory=dict)
    subject: Subject = JOBS

    @cached_property
    def dimensions(self) -> Mapping[str, UUID | str]:
        """All dimensions by column; one that is not named is all together."""
        return {each.column: self.cell.get(each.column, each.every) for each in self.subject.dimensions}

    @property
    def chosen(self) -> Mapping[str, UUID | str]:
        """The dimensions of which one member is meant."""
        every = {each.column: each.every for each in self.subject.dimensions}
        return {column: value for column, value in self.dimensions.items() if value != every[column]}


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

    `rows` is how many facts are in it now. `because` says why it last changed: the reason of the newest
    restatement, or else the `Occasion`. `is_over` tells whether its period was over when the organization
    was last published.
    """

    organization_id: UUID
    period: Period
    period_start: datetime
    period_end: datetime
    time_zone: str
    cell: Mapping[str, UUID | str]
    figures: Figures | None
    rows: int
    is_over: bool
    changed_at: datetime
    because: Restated | Occasion
    definition_version: int | None
    restatements: tuple[Restatement, ...]
    as_of: AsOf | None


def explain(run: Run, name: CellName, *, as_of: DayOrTime | None = None) -> Explanation:
    """What is known of a cell, and what it showed at an earlier moment.

    Raises `CellNotFound`, `SchemaMissing`, `FactsUnusable`.
    """
    require_analytics(run)
    with connect(run.databases.analytics_url, run.settings) as analytics:
        analytics.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        watermark = find_watermarks(analytics, name.subject).get(name.organization_id)
        if watermark is None:
            raise CellNotFound
        calendar = find_calendar(analytics)
        clock = calendar.clock_of(name.organization_id)
        found = _found(analytics, name, _starts(clock, name))
        values = {"organization_id": name.organization_id, "subject": name.subject.name}
        text = subject_statement("state/publication_records", name.subject)
        records = _Records(*analytics.execute(text, values).fetchall()[0])
        if found is None:
            raise CellNotFound(_hint(analytics, run.settings, clock, name))
    end = clock.end(name.period, found.start)
    return Explanation(
        organization_id=name.organization_id,
        period=name.period,
        period_start=found.start,
        period_end=end,
        time_zone=watermark.time_zone,
        cell=name.dimensions,
        figures=found.figures,
        rows=_rows(run.settings, calendar, name, found.start),
        is_over=_is_over(calendar, watermark, name.period, found.start),
        changed_at=found.computed_at or found.restatements[-1].restated_at,
        because=_because(found, end, records),
        definition_version=found.definition_version,
        restatements=found.restatements,
        as_of=_as_of(clock.instant(as_of), found, end, records) if as_of else None,
    )


class _Found(NamedTuple):
    start: datetime
    computed_at: datetime | None
    definition_version: int | None
    figures: Figures | None
    restatements: tuple[Restatement, ...]


class _Records(NamedTuple):
    first_published_at: datetime | None
    removed_before: datetime | None


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
        "subject": name.subject.name,
        "cell": json.dumps({column: str(value) for column, value in name.dimensions.items()}),
        **name.dimensions,
    }
    cells = analytics.execute(subject_statement("publish/cell", name.subject), values).fetchall()
    restatements = analytics.execute(statement("state/restatements_of_a_cell"), values).fetchall()
    for start in starts:
        cell = next((row for row in cells if row[0] == start), (start, None, None))
        changes = tuple(_restatement(name.subject, *row[1:]) for row in restatements if row[0] == start)
        if cell[1] or changes:
            figures = dict(zip(name.subject.measure_columns, cell[3:], strict=False)) or None
            return _Found(start, cell[1], cell[2], figures, changes)
    return None


def _restatement(subject: Subject, at: datetime, run_id: UUID, reason: str, *more: Any) -> Restatement:
    since, *both = more
    return Restatement(at, run_id, Restated(reason), since, *(figures_in(each, subject) for each in both))


def _hint(analytics: Connection, settings: Settings, clock: WallClock, name: CellName) -> str:
    """Why there is no such cell, if that is to be told."""
    if frozenset(name.chosen) not in settings.plan_of(name.subject)[name.period]:
        if name.subject is not JOBS:
            return f"(these dimensions are not combined for each {name.period})"
        return f"(EXECMETRICS_ROLLUP_PLAN does not combine these dimensions for each {name.period})"
    removed_before = find_removed_before(analytics).get(name.period)
    if removed_before and _starts(clock, name)[0] < removed_before:
        return f"(those of before {removed_before:%Y-%m-%d} were removed, as EXECMETRICS_KEEP_HOURS says)"
    return ""


def _rows(settings: Settings, calendar: ReadCalendar, name: CellName, start: datetime) -> int:
    """How many facts are in the cell."""
    columns = schema_of({"organization_id": "uuid", "period_start": "timestamptz"})
    bucket = pl.DataFrame([(name.organization_id.bytes, start)], schema=columns, orient="row")
    subject = name.subject
    wanted = [pl.col(column) == pl.lit(sentinel(value)) for column, value in name.chosen.items()]
    with reading_facts(settings.location_of(subject.fact.table), subject.fact):
        rows = in_buckets(open_facts(settings, subject.fact).scan(), bucket, name.period, calendar.calendar)
        counted = with_none_members(rows, subject).filter(*wanted, True).select(pl.len())
        return int(counted.collect().item())


def _is_over(calendar: ReadCalendar, watermark: Watermark, period: Period, start: datetime) -> bool:
    """Whether another bucket had begun up to where the organization is complete."""
    open_since = calendar.open_since({watermark.organization_id: watermark.complete_through})
    begun: datetime = open_since.filter(pl.col("period") == period.value)["period_start"].item()
    return start < begun


def _because(found: _Found, end: datetime, records: _Records) -> Restated | Occasion:
    if found.restatements or found.computed_at is None:
        return found.restatements[-1].reason
    if found.computed_at < end:
        return Occasion.OPEN
    return Occasion.NOT_ON_RECORD if _removed(found.computed_at, records) else Occasion.PUBLISHED


def _removed(moment: datetime, records: _Records) -> bool:
    """Whether restatements of that moment may have been removed."""
    return records.removed_before is not None and moment < records.removed_before


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
        change = later[0]
        since = since or change.old_since
        return AsOf(moment, True, Evidence.RESTATED, change.old, since, change.restated_at)
    if moment < end:
        return AsOf(moment, False, Evidence.OPEN)
    removed = _removed(moment, records)
    return AsOf(moment, False, Evidence.REMOVED if removed else Evidence.NOT_PUBLISHED)


def _stood(change: Restatement, moment: datetime, records: _Records) -> bool:
    """Whether the figures before a change were those that a reader saw at an earlier moment."""
    since = change.old_since or records.first_published_at
    return since is not None and since <= moment
