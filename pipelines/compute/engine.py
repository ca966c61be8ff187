"""Which cells are computed anew, and from which jobs: in portions that fit into memory."""

from collections.abc import Collection, Generator, Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.compute.aggregate import Aggregator, Numbered, emptied
from pipelines.compute.chunks import bucket_sizes, in_buckets, parts
from pipelines.compute.dirty_cells import dirty_cells
from pipelines.frames import id_series
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import BY_WEIGHT, Restated
from pipelines.subjects.rollup import RollupPlan
from pipelines.subjects.subject import JOBS, Subject

# How many jobs are aggregated at a time: this, not the backlog, decides how much memory a run takes.
CHUNK_JOBS: Final = 250_000

_REASONS: Final = pl.Series("reason", [reason.value for reason in BY_WEIGHT])

Cells = Generator[pl.DataFrame, None, None]

ALL_PERIODS: Final = tuple(Period)

# A local month may begin and end so far from a month of UTC, and lasts no longer than this.
_ASTRAY: Final = timedelta(days=2)
_LONGEST: Final = timedelta(days=31) + _ASTRAY


class Desk:
    """Where jobs become cells: those of their subject and `reason`, why a published cell is another now."""

    def __init__(
        self,
        jobs: pl.LazyFrame,
        calendar: Calendar,
        plan: RollupPlan,
        aggregator: Aggregator,
        subject: Subject = JOBS,
    ) -> None:
        self._jobs = jobs.select(subject.measured_columns)
        self._calendar, self._plan, self._aggregator = calendar, plan, aggregator
        self._subject = subject

    def all_cells(
        self,
        organization_ids: Collection[UUID],
        reason: Restated,
        *,
        periods: Collection[Period] = ALL_PERIODS,
        between: tuple[datetime | None, datetime | None] = (None, None),
    ) -> Cells:
        """Yield every cell of these organizations, or those that begin in [since, until)."""
        if not organization_ids:
            return
        jobs = self._jobs.filter(pl.col("organization_id").is_in(_ids(organization_ids)))
        since, until = between
        if since:
            jobs = jobs.filter(pl.col("completed_at") >= since - _ASTRAY)
        if until:
            jobs = jobs.filter(pl.col("completed_at") < until + _LONGEST)
        for numbered, there in self._portions(jobs, periods):
            for cells in self._aggregator.cells(numbered, self._plan_of(there)):
                if since:
                    cells = cells.filter(pl.col("period_start") >= since)
                if until:
                    cells = cells.filter(pl.col("period_start") < until)
                yield cells.with_columns(reason=pl.lit(reason.value))

    def changed_cells(
        self,
        changed: pl.LazyFrame,
        *,
        periods: Collection[Period] = ALL_PERIODS,
        reason: Restated | None = None,
    ) -> Cells:
        """Yield every cell that a job left or entered; one that no job is left in counts no executions.

        `changed` holds jobs as they were and are, with their `cause`; it is the reason, unless one is given.
        """
        at_once = self._at_once(changed)
        if at_once:
            yield from self._left_or_entered(*at_once, [p for p in Period if p in periods], reason)
            return
        for outer, calendar, inner in self._nests(periods):
            dirty = bucket_sizes(changed, outer, calendar)
            there = bucket_sizes(in_buckets(self._jobs, dirty, outer, calendar), outer, calendar)
            for part in parts(pl.concat([dirty, there]), CHUNK_JOBS):
                jobs = in_buckets(self._jobs, part, outer, calendar).collect()
                these = in_buckets(changed, part, outer, calendar).collect()
                yield from self._left_or_entered(jobs, these, inner, reason)

    def cells_at(self, keys: pl.DataFrame, reason: Restated) -> Cells:
        """Yield the cells with these keys (the key columns), those that no job is in without executions."""
        for period in Period:
            wanted = keys.filter(pl.col("period") == period.value).with_columns(weight=0)
            if wanted.is_empty():
                continue
            sizes = bucket_sizes(
                in_buckets(self._jobs, wanted, period, self._calendar), period, self._calendar
            )
            buckets = wanted.select("organization_id", "period_start").unique()
            asked = buckets.with_columns(jobs=pl.lit(0, dtype=sizes.schema["jobs"]))
            for part in parts(pl.concat([sizes, asked]), CHUNK_JOBS):
                jobs = in_buckets(self._jobs, part, period, self._calendar).collect()
                numbered = self._numbered(jobs, (period,))
                mine = wanted.join(part, on=["organization_id", "period_start"], how="semi")
                yield from self._wanted_cells(numbered, mine, (period,), reason)

    def _wanted_cells(
        self, numbered: Numbered, wanted: pl.DataFrame, periods: Collection[Period], reason: Restated | None
    ) -> Cells:
        why = _REASONS.gather(wanted["weight"]) if reason is None else pl.lit(reason.value)
        keys = self._subject.key_columns
        left = wanted.select(*keys, reason=why)
        buckets = left.select("organization_id", "period", "period_start").unique()
        for cells in self._aggregator.cells(numbered, self._plan_of(periods), buckets):
            yield cells.join(left, on=keys)
            left = left.join(cells, on=keys, how="anti")
        yield emptied(left, self._subject).hstack([left["reason"]])

    def _plan_of(self, periods: Collection[Period]) -> RollupPlan:
        return {period: masks for period, masks in self._plan.items() if period in periods}

    def _numbered(self, jobs: pl.DataFrame, periods: Collection[Period]) -> Numbered:
        return Numbered.of(jobs, self._calendar, periods, self._subject)

    def _portions(
        self, jobs: pl.LazyFrame, periods: Collection[Period]
    ) -> Iterator[tuple[Numbered, tuple[Period, ...]]]:
        """Jobs whose buckets of these periods are all there: at once if they are few."""
        ordered = tuple(period for period in Period if period in periods)
        few = jobs.head(CHUNK_JOBS + 1).collect()
        if few.height <= CHUNK_JOBS:
            yield self._numbered(few, ordered), ordered
            return
        for outer, calendar, inner in self._nests(ordered):
            for part in parts(bucket_sizes(jobs, outer, calendar), CHUNK_JOBS):
                chunk = in_buckets(jobs, part, outer, calendar).collect()
                yield self._numbered(chunk, inner), inner

    def _at_once(self, changed: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame] | None:
        """All jobs of whatever buckets a change touched, and the changes, if they are few."""
        these = changed.head(CHUNK_JOBS + 1).collect()
        room = CHUNK_JOBS - these.height
        if room < 0:
            return None
        completed_at = pl.col("completed_at")
        reach = (completed_at.min() - _LONGEST).alias("first"), (completed_at.max() + _LONGEST).alias("last")
        spans = these.group_by("organization_id").agg(*reach)
        first, last = map(pl.lit, these.select(*reach))
        near = self._jobs.filter(
            # Nearly these, and quickly so; the join tells them apart.
            completed_at.is_between(first, last),
            pl.col("organization_id").is_in(spans["organization_id"].implode()),
        )
        jobs = (
            near.join(spans.lazy(), on="organization_id")
            .filter(completed_at.is_between("first", "last"))
            .drop("first", "last")
        )
        few = jobs.head(room + 1).collect()
        return (few, these) if few.height <= room else None

    def _left_or_entered(
        self, jobs: pl.DataFrame, changed: pl.DataFrame, periods: Collection[Period], reason: Restated | None
    ) -> Cells:
        wanted = dirty_cells(changed, self._plan_of(periods), self._calendar, self._subject)
        yield from self._wanted_cells(self._numbered(jobs, periods), wanted, periods, reason)

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


def _ids(organization_ids: Collection[UUID]) -> pl.Series:
    return id_series("organization_id", organization_ids).implode()
