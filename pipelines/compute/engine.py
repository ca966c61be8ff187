"""The door of computing: which cells, from a table of facts and a calendar, come out finished.

An engine decides by itself how many rows it looks at a time: chunks and numbers for ids stay behind the door.
"""

from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, Self
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.compute.cells import CellsOf, NumberedRows, emptied
from pipelines.compute.chunks import bucket_sizes, in_buckets, parts
from pipelines.compute.dirty_cells import dirty_cells
from pipelines.frames import of_organizations
from pipelines.subjects.reasons import BY_WEIGHT, Restated
from pipelines.subjects.rollup import Period, RollupPlan
from pipelines.subjects.subject import Subject

# How many rows are aggregated at a time: this, not the backlog, decides how much memory a run takes.
CHUNK_ROWS: Final = 250_000

_REASONS: Final = pl.Series("reason", [reason.value for reason in BY_WEIGHT])

Cells = Generator[pl.DataFrame, None, None]

ALL_PERIODS: Final = tuple(Period)

# A local month may begin and end so far from a month of UTC, and lasts no longer than this.
_ASTRAY: Final = timedelta(days=2)
_LONGEST: Final = timedelta(days=31) + _ASTRAY


@dataclass(frozen=True)
class AllCells:
    """Cells of these organizations, or those that begin in [since, until); an end that is None is open."""

    organization_ids: Collection[UUID]
    reason: Restated
    periods: Collection[Period] = ALL_PERIODS
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class ChangedCells:
    """Every cell that a row left or entered; one that no row is left in has a total of 0.

    `changes` holds rows as they were and are, with the `weight` of what changed them, which tells the reason
    unless one is given.
    """

    changes: pl.LazyFrame
    periods: Collection[Period] = ALL_PERIODS
    reason: Restated | None = None


@dataclass(frozen=True)
class CellsAt:
    """The cells with these keys (the key columns), those that no row is in with a total of 0."""

    keys: pl.DataFrame
    reason: Restated


class ComputeEngine(Protocol):
    """Computes cells of one subject from one version of its facts, by one calendar."""

    def cells(self, which: AllCells | ChangedCells | CellsAt) -> Cells:
        """Yield finished cells: the subject's `cell_columns`, and `reason`, why a published cell changes."""


class DuckDBEngine:
    """Computes in this process, some 250,000 rows at a time; use it in a `with`."""

    def __init__(self, facts: pl.LazyFrame, calendar: Calendar, plan: RollupPlan, subject: Subject) -> None:
        self._rows = facts.select(subject.fact_columns)
        self._calendar, self._plan, self._subject = calendar, plan, subject
        self._cells_of = CellsOf(subject)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._cells_of.__exit__(*raised)

    def cells(self, which: AllCells | ChangedCells | CellsAt) -> Cells:
        """Yield finished cells: the subject's `cell_columns`, and `reason`, why a published cell changes."""
        match which:
            case AllCells():
                return self._all_cells(which)
            case ChangedCells():
                return self._changed_cells(which)
        return self._cells_at(which)

    def _all_cells(self, which: AllCells) -> Cells:
        if not which.organization_ids:
            return
        rows = self._rows.filter(of_organizations(which.organization_ids))
        since, until = which.since, which.until
        if since:
            rows = rows.filter(pl.col("completed_at") >= since - _ASTRAY)
        if until:
            rows = rows.filter(pl.col("completed_at") < until + _LONGEST)
        for numbered, periods in self._portions(rows, which.periods):
            for cells in self._cells_of.compute(numbered, self._plan_of(periods)):
                if since:
                    cells = cells.filter(pl.col("period_start") >= since)
                if until:
                    cells = cells.filter(pl.col("period_start") < until)
                yield cells.with_columns(reason=pl.lit(which.reason.value))

    def _changed_cells(self, which: ChangedCells) -> Cells:
        changed = which.changes
        at_once = self._at_once(changed)
        if at_once:
            yield from self._left_or_entered(
                *at_once, [p for p in Period if p in which.periods], which.reason
            )
            return
        for outer, calendar, inner in self._nests(which.periods):
            dirty = bucket_sizes(changed, outer, calendar)
            there = bucket_sizes(in_buckets(self._rows, dirty, outer, calendar), outer, calendar)
            for part in parts(pl.concat([dirty, there]), CHUNK_ROWS):
                rows = in_buckets(self._rows, part, outer, calendar).collect()
                these = in_buckets(changed, part, outer, calendar).collect()
                yield from self._left_or_entered(rows, these, inner, which.reason)

    def _cells_at(self, which: CellsAt) -> Cells:
        for period in Period:
            wanted = which.keys.filter(pl.col("period") == period.value).with_columns(weight=0)
            if wanted.is_empty():
                continue
            sizes = bucket_sizes(
                in_buckets(self._rows, wanted, period, self._calendar), period, self._calendar
            )
            buckets = wanted.select("organization_id", "period_start").unique()
            asked = buckets.with_columns(rows=pl.lit(0, dtype=sizes.schema["rows"]))
            for part in parts(pl.concat([sizes, asked]), CHUNK_ROWS):
                rows = in_buckets(self._rows, part, period, self._calendar).collect()
                mine = wanted.join(part, on=["organization_id", "period_start"], how="semi")
                yield from self._wanted_cells(self._numbered(rows, (period,)), mine, (period,), which.reason)

    def _wanted_cells(
        self,
        numbered: NumberedRows,
        wanted: pl.DataFrame,
        periods: Collection[Period],
        reason: Restated | None,
    ) -> Cells:
        why = _REASONS.gather(wanted["weight"]) if reason is None else pl.lit(reason.value)
        keys = self._subject.key_columns
        left = wanted.select(*keys, reason=why)
        buckets = left.select("organization_id", "period", "period_start").unique()
        for cells in self._cells_of.compute(numbered, self._plan_of(periods), buckets):
            yield cells.join(left, on=keys)
            left = left.join(cells, on=keys, how="anti")
        yield emptied(left, self._subject).hstack([left["reason"]])

    def _plan_of(self, periods: Collection[Period]) -> RollupPlan:
        return {period: masks for period, masks in self._plan.items() if period in periods}

    def _numbered(self, rows: pl.DataFrame, periods: Collection[Period]) -> NumberedRows:
        return NumberedRows.of(rows, self._calendar, self._subject, periods)

    def _portions(
        self, rows: pl.LazyFrame, periods: Collection[Period]
    ) -> Iterator[tuple[NumberedRows, tuple[Period, ...]]]:
        """Jobs whose buckets of these periods are all there: at once if they are few."""
        ordered = tuple(period for period in Period if period in periods)
        few = rows.head(CHUNK_ROWS + 1).collect()
        if few.height <= CHUNK_ROWS:
            yield self._numbered(few, ordered), ordered
            return
        for outer, calendar, inner in self._nests(ordered):
            for part in parts(bucket_sizes(rows, outer, calendar), CHUNK_ROWS):
                chunk = in_buckets(rows, part, outer, calendar).collect()
                yield self._numbered(chunk, inner), inner

    def _at_once(self, changed: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame] | None:
        """All rows of whatever buckets a change touched, and the changes, if they are few."""
        these = changed.head(CHUNK_ROWS + 1).collect()
        room = CHUNK_ROWS - these.height
        if room < 0:
            return None
        completed_at = pl.col("completed_at")
        reach = (completed_at.min() - _LONGEST).alias("first"), (completed_at.max() + _LONGEST).alias("last")
        spans = these.group_by("organization_id").agg(*reach)
        first, last = map(pl.lit, these.select(*reach))
        near = self._rows.filter(
            # Nearly these, and quickly so; the join tells them apart.
            completed_at.is_between(first, last),
            pl.col("organization_id").is_in(spans["organization_id"].implode()),
        )
        rows = (
            near.join(spans.lazy(), on="organization_id")
            .filter(completed_at.is_between("first", "last"))
            .drop("first", "last")
        )
        few = rows.head(room + 1).collect()
        return (few, these) if few.height <= room else None

    def _left_or_entered(
        self, rows: pl.DataFrame, changed: pl.DataFrame, periods: Collection[Period], reason: Restated | None
    ) -> Cells:
        wanted = dirty_cells(changed, self._plan_of(periods), self._calendar, self._subject)
        yield from self._wanted_cells(self._numbered(rows, periods), wanted, periods, reason)

    def _nests(self, periods: Collection[Period]) -> list[tuple[Period, Calendar, tuple[Period, ...]]]:
        """Outer buckets and what lies whole in them; an hour lies across local midnight in some zones."""
        if self._calendar.has_whole_hours:
            nests = [
                (Period.MONTH, self._calendar, (Period.HOUR, Period.DAY, Period.MONTH)),
                (Period.WEEK, self._calendar, (Period.WEEK,)),
            ]
        else:
            nests = [
                (Period.MONTH, Calendar.utc(), (Period.HOUR,)),
                (Period.MONTH, self._calendar, (Period.DAY, Period.MONTH)),
                (Period.WEEK, self._calendar, (Period.WEEK,)),
            ]
        asked = [
            (outer, calendar, tuple(p for p in inner if p in periods)) for outer, calendar, inner in nests
        ]
        return [(outer, calendar, inner) for outer, calendar, inner in asked if inner]


def weight(cause: str) -> pl.Expr:
    """A number for each cause in the named column, by which the reason of a cell is chosen: the least."""
    ranks = {reason.value: rank for rank, reason in enumerate(BY_WEIGHT)}
    return pl.col(cause).replace_strict(ranks, return_dtype=pl.Int64).alias("weight")
