"""A new definition of the metrics: every cell computed anew from the facts, range by range."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import polars as pl

from pipelines.compute.aggregate import Aggregator
from pipelines.compute.calendar import Calendar
from pipelines.compute.chunks import bucket_sizes
from pipelines.errors import ExecutionMetricsError
from pipelines.fault_points import FaultPoint, passing
from pipelines.model.definition import definition
from pipelines.model.periods import Period
from pipelines.model.restatements import Restated
from pipelines.publish import Published, find_unpublished
from pipelines.recompute import CHUNK_JOBS, Desk
from pipelines.settings import Settings
from pipelines.stages import OnProgress, Stages
from pipelines.storage import outcomes
from pipelines.storage.aggregates import ALWAYS, Edition, Publication
from pipelines.storage.calendars import find_calendar
from pipelines.storage.cursors import Progress, find_progress, hold, settle_rebuild
from pipelines.storage.database import Databases, connect
from pipelines.storage.definitions import find_version, version_of
from pipelines.storage.facts import JobFacts, open_facts
from pipelines.storage.facts_health import reading_facts
from pipelines.storage.frames import id_series
from pipelines.storage.lock import refresh_lock
from pipelines.storage.migrations import require_analytics
from pipelines.storage.retention import find_removed_before
from pipelines.storage.statements import statement


@dataclass(frozen=True)
class _Range:
    """Cells of some organizations that begin in [since, until); an end that is None is open."""

    organization_ids: tuple[UUID, ...]
    since: datetime | None
    until: datetime | None


def rebuild(databases: Databases, settings: Settings, *, on_progress: OnProgress | None = None) -> Published:
    """Compute every cell anew that is of an older definition; the source is not touched.

    A range is replaced in one transaction, so readers have its old cells or its new ones, and a rebuild
    that is cut off goes on behind the last. Raises `SchemaMissing`, `AnotherRunHoldsTheLock`,
    `PublishConflict`.
    """
    require_analytics(databases, settings)
    stages = Stages(on_progress)
    with refresh_lock(databases, settings), reading_facts(settings.facts_location):
        return rebuild_stale(databases, settings, stages)


def rebuild_stale(databases: Databases, settings: Settings, stages: Stages) -> Published:
    """The same for a caller that holds the refresh lock.

    An organization with facts that are not published yet waits until they are.
    """
    with connect(databases.analytics_url, settings) as analytics:
        current = version_of(analytics, definition(settings.rollup_plan))
        seen = find_progress(analytics)
        stale = find_stale(seen, current)
        if not stale:
            return Published()
        removed_before = find_removed_before(analytics)
        calendar = find_calendar(analytics)
    facts = open_facts(settings)
    with (
        reading_facts(settings.facts_location),
        Aggregator(statement("compute/cells.sql")) as aggregator,
    ):
        stale = {key for key in stale if seen[key].shows(facts)}
        stale -= find_unpublished(facts, {key: seen[key] for key in stale})
        edition = Edition(
            run_id=uuid4(),
            computed_at=datetime.now(UTC),
            definition_version=current,
            open_since=calendar.open_since({key: seen[key].complete_through for key in stale}),
            removed_before=removed_before,
        )
        desk = Desk(facts.scan(), calendar.calendar, settings.rollup_plan, aggregator)
        press = _Press(databases, settings, stages, seen, desk, edition)
        for each in _ranges(facts, {key: seen[key] for key in stale}, current):
            press.settle(each)
    return press.published


def find_stale(seen: Mapping[UUID, Progress], current: int | None) -> set[UUID]:
    """The organizations with cells of another definition than the current one."""
    return {key for key, was in seen.items() if not was.is_of(current)}


def find_waiting(databases: Databases, settings: Settings) -> tuple[UUID, ...]:
    """The organizations that are still of an older definition; `refresh` brings them to the current one."""
    with connect(databases.analytics_url, settings) as analytics:
        current = find_version(analytics, definition(settings.rollup_plan))
        return tuple(sorted(find_stale(find_progress(analytics), current)))


class _Press:
    """Replaces ranges, and remembers what became of them."""

    def __init__(
        self,
        databases: Databases,
        settings: Settings,
        stages: Stages,
        seen: Mapping[UUID, Progress],
        desk: Desk,
        edition: Edition,
    ) -> None:
        self._databases, self._settings, self._stages = databases, settings, stages
        self._seen, self._desk, self._edition = seen, desk, edition
        self.published = Published()

    def settle(self, each: _Range) -> None:
        """Replace a range; where that fails, one organization after another, to spare all but the culprit."""
        if set(each.organization_ids) & self.published.failed.keys():
            return
        try:
            with self._stages.timed("rebuild"), reading_facts(self._settings.facts_location):
                self.published += self._replace(each)
        except ExecutionMetricsError:
            raise
        except Exception as failure:
            if len(each.organization_ids) == 1:
                self._give_up(each.organization_ids[0], failure)
                return
            for key in each.organization_ids:
                self.settle(replace(each, organization_ids=(key,)))
        self._stages.tell("rebuild", self.published.computed)

    def _give_up(self, organization_id: UUID, failure: Exception) -> None:
        error_class = type(failure).__name__
        self.published.failed[organization_id] = error_class
        with connect(self._databases.analytics_url, self._settings) as analytics:
            outcomes.record(
                analytics, self._edition.run_id, [organization_id], seconds=0, error_class=error_class
            )
        passing(FaultPoint.FAILURE_RECORDED)

    def _replace(self, each: _Range) -> Published:
        ids = each.organization_ids
        with connect(self._databases.analytics_url, self._settings) as analytics:
            passing(FaultPoint.BATCH_BEGUN)
            publication = Publication(analytics, self._edition)
            computed = 0
            cells_of_range = self._desk.all_cells(ids, Restated.DEFINITION, between=(each.since, each.until))
            for cells in cells_of_range:
                publication.stage(cells)
                passing(FaultPoint.CHUNK_WRITTEN)
                computed += cells.height
            between = (each.since or ALWAYS[0], each.until or ALWAYS[1])
            publication.stage_leftovers(ids, Restated.DEFINITION, between=between)
            publication.replace()
            hold(analytics, {key: self._seen[key] for key in ids})
            settle_rebuild(analytics, ids, self._edition.definition_version, each.until)
            passing(FaultPoint.REBUILD_SETTLED)
            passing(FaultPoint.BEFORE_COMMIT)
            analytics.commit()
            passing(FaultPoint.AFTER_COMMIT)
        return Published(computed, publication.written, publication.deleted, publication.restated)


def _ranges(facts: JobFacts, stale: Mapping[UUID, Progress], current: int) -> Iterator[_Range]:
    """Small organizations some at a time, whole; the months of a large one some at a time."""
    mine = pl.col("organization_id").is_in(id_series("organization_id", stale).implode())
    sizes = bucket_sizes(facts.scan().filter(mine), Period.MONTH, Calendar.utc())
    jobs = dict.fromkeys(stale, 0)
    months: dict[UUID, list[tuple[datetime, int]]] = {key: [] for key in stale}
    for organization_id, month, count in sizes.sort("period_start").iter_rows():
        key = UUID(bytes=organization_id)
        jobs[key] += count
        months[key].append((month, count))
    together: list[UUID] = []
    room = CHUNK_JOBS
    for key in sorted(stale, key=lambda each: (jobs[each], each)):
        begun = stale[key].rebuilding_version == current
        if jobs[key] > CHUNK_JOBS or begun:
            yield from _months(key, months[key], stale[key].rebuilt_before if begun else None)
            continue
        if together and jobs[key] > room:
            yield _Range(tuple(together), None, None)
            together, room = [], CHUNK_JOBS
        together.append(key)
        room -= jobs[key]
    if together:
        yield _Range(tuple(together), None, None)


def _months(key: UUID, months: list[tuple[datetime, int]], since: datetime | None) -> Iterator[_Range]:
    room = CHUNK_JOBS
    begun = False
    for month, jobs in months:
        if since and month < since:
            continue
        if begun and jobs > room:
            yield _Range((key,), since, month)
            since, room = month, CHUNK_JOBS
        begun = True
        room -= jobs
    yield _Range((key,), since, None)
