"""Cells computed anew from the facts alone: of an older definition, in ranges, or by key."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final
from uuid import UUID, uuid4

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.compute.chunks import bucket_sizes
from pipelines.compute.engine import (
    ALL_PERIODS,
    CHUNK_ROWS,
    AllCells,
    Cells,
    CellsAt,
    ComputeEngine,
    DuckDBEngine,
)
from pipelines.errors import ExecutionMetricsError, is_failure
from pipelines.extract.request import CompletedIn
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.health import reading_facts
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import of_organizations, uuids
from pipelines.postgres.connections import Connection, Run
from pipelines.publish.publisher import Published, find_unpublished, record_failure
from pipelines.publish.writer import ALWAYS, PublishContext, Writer
from pipelines.source.rows import find_sealed_before
from pipelines.state.stored_cells import find_removed_before, find_version, version_of
from pipelines.state.time_zones import ReadCalendar, find_calendar
from pipelines.state.watermarks import (
    Watermark,
    Watermarks,
    find_watermarks,
    hold,
    renew_edition,
    settle_rebuild,
)
from pipelines.subjects.reasons import Restated
from pipelines.subjects.rollup import Period
from pipelines.subjects.subject import Subject

# A bucket that begins so long before a moment may reach it, whatever the clocks of its zone did.
_REACHES: Final = (
    ((Period.HOUR, Period.DAY), timedelta(days=2)),
    ((Period.WEEK,), timedelta(days=9)),
    ((Period.MONTH,), timedelta(days=33)),
)

# Beyond them a bucket might begin or end where no date can be written.
_FIRST, _LAST = datetime(1, 6, 1, tzinfo=UTC), datetime(9999, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Range:
    """Cells that begin in [since, until), an end that is None being open."""

    since: datetime | None = None
    until: datetime | None = None
    periods: tuple[Period, ...] = ALL_PERIODS

    @property
    def bounds(self) -> tuple[str | datetime, str | datetime]:
        """The same for a statement, which knows of no open end."""
        return self.since or ALWAYS[0], self.until or ALWAYS[1]


def rebuild_stale(run: Run, subject: Subject) -> Published:
    """Compute every cell anew that is of an older definition; the source is not touched.

    A range is replaced in one transaction, so readers have its old cells or its new ones, and a rebuild
    that is cut off goes on behind the last. An organization with facts that are not published yet waits
    until they are. The caller holds the refresh lock. Raises `PublishConflict`.
    """
    if not find_stale(run, subject):
        return Published()
    with _recomputing(
        run, subject, Restated.DEFINITION, wanted=lambda was, current: not was.is_of(current)
    ) as recompute:
        rebuild = _Rebuild(recompute)
        for each in _portions(recompute):
            rebuild.replace(each)
    return rebuild.published


def find_stale(run: Run, subject: Subject) -> tuple[UUID, ...]:
    """The organizations with cells of another definition than the current one."""
    with run.analytics() as analytics:
        current = find_version(analytics, subject.definition(run.settings.plan_of(subject)))
        seen = find_watermarks(analytics, subject)
    return tuple(sorted(key for key, was in seen.items() if not was.is_of(current)))


def repair_cells(run: Run, subject: Subject, keys: pl.DataFrame) -> Published:
    """Compute the cells with these keys (the subject's key columns) anew from the facts.

    What stood there is kept on record. The caller holds the refresh lock. An organization with facts that
    are not published yet, or with cells of another definition, is left alone. Raises `PublishConflict`,
    `FactsUnusable`.
    """
    asked = uuids(keys["organization_id"].unique())
    with _recomputing_of(run, subject, asked) as recompute:
        mine = keys.filter(of_organizations(recompute.seen))
        if mine.is_empty():
            return Published()
        cells = recompute.engine.cells(CellsAt(mine, Restated.DRIFT))
        return recompute.replace(tuple(recompute.seen), [cells])


def repair_range(
    run: Run, subject: Subject, organization_ids: Collection[UUID], within: CompletedIn
) -> Published:
    """The same for all cells of these organizations that reach into a range; remove those too many."""
    repaired = Published()
    with run.stages.timed("repair"), _recomputing_of(run, subject, organization_ids) as recompute:
        some, seen = run.settings.batch_organizations, sorted(recompute.seen)
        for instants, ids in within.by(recompute.calendar, seen).groups(seen):
            for batch in (ids[start : start + some] for start in range(0, len(ids), some)):
                repaired += recompute.replace_ranges(batch, reaching(*instants))
                run.stages.tell("repair", repaired.computed)
    return repaired


def reaching(since: datetime | None, until: datetime | None) -> tuple[Range, ...]:
    """Where the cells begin that may reach into a range; an end that is None is open."""
    last = until if until and until < _LAST else None
    return tuple(
        Range(since - reach if since and since > _FIRST else None, last, periods)
        for periods, reach in _REACHES
    )


@dataclass(frozen=True)
class _Recompute:
    """What is needed to replace cells of the organizations in `seen`, and why they are replaced."""

    run: Run
    subject: Subject
    reason: Restated
    seen: Watermarks
    facts: Facts
    calendar: ReadCalendar
    engine: ComputeEngine
    context: PublishContext

    def replace_ranges(
        self,
        organization_ids: Collection[UUID],
        ranges: Collection[Range],
        *,
        also: Callable[[Connection], object] = lambda _: None,
    ) -> Published:
        """Replace all cells in some ranges; in the same transaction do what goes with it."""
        cells = (
            self.engine.cells(AllCells(organization_ids, self.reason, each.periods, each.since, each.until))
            for each in ranges
        )
        return self.replace(organization_ids, cells, complete=ranges, also=also)

    def replace(
        self,
        organization_ids: Collection[UUID],
        cells: Iterable[Cells],
        *,
        complete: Iterable[Range] = (),
        also: Callable[[Connection], object] = lambda _: None,
    ) -> Published:
        """Replace cells; in ranges that are complete remove all others. Raises `PublishConflict`."""
        computed = 0
        with self.run.analytics() as analytics:
            passing(FaultPoint.BATCH_BEGUN)
            writer = Writer(analytics, self.context)
            for some in chain.from_iterable(cells):
                writer.stage(some)
                passing(FaultPoint.CHUNK_WRITTEN)
                computed += some.height
            for each in complete:
                writer.stage_leftovers(
                    organization_ids, self.reason, periods=each.periods, between=each.bounds
                )
            writer.replace()
            hold(analytics, self.subject, {key: self.seen[key] for key in organization_ids})
            if writer.written or writer.deleted:
                renew_edition(analytics, self.subject, organization_ids)
            also(analytics)
            passing(FaultPoint.BEFORE_COMMIT)
            analytics.commit()
            passing(FaultPoint.AFTER_COMMIT)
        return Published(computed, writer.written, writer.deleted, writer.restated)


@contextmanager
def _recomputing(
    run: Run, subject: Subject, reason: Restated, *, wanted: Callable[[Watermark, int], bool]
) -> Iterator[_Recompute]:
    """Yield what replaces cells of the organizations that are `wanted`, by watermark and current definition.

    Organizations that show other facts, or have facts that are not published yet, are left out: cells are
    not to be of two versions. The caller holds the refresh lock.
    """
    plan = run.settings.plan_of(subject)
    with run.analytics() as analytics:
        watermarks = find_watermarks(analytics, subject)
        current = version_of(analytics, subject.definition(plan))
        removed_before = find_removed_before(analytics)
        calendar = find_calendar(analytics)
    with reading_facts(run.settings.location_of(subject.fact.table), subject.fact):
        facts = open_facts(run.settings, subject.fact)
        with DuckDBEngine(facts.scan(), calendar.calendar, plan, subject) as engine:
            seen = {
                key: each for key, each in watermarks.items() if wanted(each, current) and each.shows(facts)
            }
            for key in find_unpublished(facts, subject, seen):
                del seen[key]
            context = PublishContext(
                subject=subject,
                run_id=uuid4(),
                computed_at=datetime.now(UTC),
                definition_version=current,
                calendar=calendar,
                complete_through={key: each.complete_through for key, each in seen.items()},
                removed_before=removed_before,
                sealed_before=find_sealed_before(run, subject),
            )
            yield _Recompute(run, subject, reason, seen, facts, calendar, engine, context)


def _recomputing_of(
    run: Run, subject: Subject, organization_ids: Collection[UUID]
) -> AbstractContextManager[_Recompute]:
    asked = frozenset(organization_ids)

    def wanted(watermark: Watermark, current: int) -> bool:
        return watermark.organization_id in asked and watermark.is_of(current)

    return _recomputing(run, subject, Restated.DRIFT, wanted=wanted)


@dataclass(frozen=True)
class _Portion:
    """All cells of some organizations that begin in a range."""

    organization_ids: tuple[UUID, ...]
    within: Range


class _Rebuild:
    """Replaces portions by cells of the current definition, and remembers what became of them."""

    def __init__(self, recompute: _Recompute) -> None:
        self._recompute = recompute
        self.published = Published()

    def replace(self, each: _Portion) -> None:
        """Replace a portion; where that fails, one organization after another, to spare the others."""
        if set(each.organization_ids) & self.published.failed.keys():
            return
        run, subject = self._recompute.run, self._recompute.subject
        location = run.settings.location_of(subject.fact.table)
        try:
            with run.stages.timed("rebuild"), reading_facts(location, subject.fact):
                self.published += self._replaced(each)
        except ExecutionMetricsError:
            raise
        except BaseException as failure:
            if not is_failure(failure):
                raise
            if len(each.organization_ids) == 1:
                (key,) = each.organization_ids
                run_id = self._recompute.context.run_id
                self.published.failed[key] = record_failure(run, subject, run_id, key, failure)
                return
            for key in each.organization_ids:
                self.replace(replace(each, organization_ids=(key,)))
        run.stages.tell("rebuild", self.published.computed)

    def _replaced(self, each: _Portion) -> Published:
        ids, current = each.organization_ids, self._recompute.context.definition_version

        def settled(analytics: Connection) -> None:
            settle_rebuild(analytics, self._recompute.subject, ids, current, each.within.until)
            passing(FaultPoint.REBUILD_SETTLED)

        return self._recompute.replace_ranges(ids, [each.within], also=settled)


def _portions(recompute: _Recompute) -> Iterator[_Portion]:
    """Small organizations some at a time, whole; the months of a large one some at a time."""
    stale, current = recompute.seen, recompute.context.definition_version
    mine = of_organizations(stale)
    sizes = bucket_sizes(recompute.facts.scan().filter(mine), Period.MONTH, Calendar.utc())
    rows = dict.fromkeys(stale, 0)
    months: dict[UUID, list[tuple[datetime, int]]] = {key: [] for key in stale}
    for organization_id, month, count in sizes.sort("period_start").iter_rows():
        key = UUID(bytes=organization_id)
        rows[key] += count
        months[key].append((month, count))
    together: list[UUID] = []
    room = CHUNK_ROWS
    for key in sorted(stale, key=lambda each: (rows[each], each)):
        begun = stale[key].rebuilding_version == current
        if rows[key] > CHUNK_ROWS or begun:
            yield from _months(key, months[key], stale[key].rebuilt_before if begun else None)
            continue
        if together and rows[key] > room:
            yield _Portion(tuple(together), Range())
            together, room = [], CHUNK_ROWS
        together.append(key)
        room -= rows[key]
    if together:
        yield _Portion(tuple(together), Range())


def _months(key: UUID, months: list[tuple[datetime, int]], since: datetime | None) -> Iterator[_Portion]:
    room = CHUNK_ROWS
    begun = False
    for month, rows in months:
        if since and month < since:
            continue
        if begun and rows > room:
            yield _Portion((key,), Range(since, month))
            since, room = month, CHUNK_ROWS
        begun = True
        room -= rows
    yield _Portion((key,), Range(since))
