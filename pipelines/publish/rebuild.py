"""A new definition of the metrics: every cell computed anew from the facts, range by range."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.compute.chunks import bucket_sizes
from pipelines.compute.engine import CHUNK_JOBS
from pipelines.errors import ExecutionMetricsError, is_failure
from pipelines.facts.health import reading_facts
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import id_series
from pipelines.postgres.connections import Connection, Databases, connect, connections_reused
from pipelines.postgres.schema_checks import require_analytics
from pipelines.progress import OnProgress, Stages
from pipelines.publish.publisher import Published
from pipelines.publish.recompute import Range, Workbench, workbench
from pipelines.settings import Settings
from pipelines.state import outcomes
from pipelines.state.definitions import find_version
from pipelines.state.lock import refresh_lock
from pipelines.state.watermarks import Progress, find_progress, settle_rebuild
from pipelines.subjects.definition import definition
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import Restated


@dataclass(frozen=True)
class _Portion:
    """All cells of some organizations that begin in a range."""

    organization_ids: tuple[UUID, ...]
    within: Range


@connections_reused()
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
    if not find_waiting(databases, settings):
        return Published()
    with workbench(
        databases, settings, Restated.DEFINITION, wanted=lambda was, current: not was.is_of(current)
    ) as bench:
        press = _Press(bench, stages)
        for each in _portions(bench):
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
    """Replaces portions, and remembers what became of them."""

    def __init__(self, bench: Workbench, stages: Stages) -> None:
        self._bench, self._stages = bench, stages
        self.published = Published()

    def settle(self, each: _Portion) -> None:
        """Replace a portion; where that fails, one organization after another, to spare the others."""
        if set(each.organization_ids) & self.published.failed.keys():
            return
        try:
            with self._stages.timed("rebuild"), reading_facts(self._bench.settings.facts_location):
                self.published += self._replace(each)
        except ExecutionMetricsError:
            raise
        except BaseException as failure:
            if not is_failure(failure):
                raise
            if len(each.organization_ids) == 1:
                self._give_up(each.organization_ids[0], failure)
                return
            for key in each.organization_ids:
                self.settle(replace(each, organization_ids=(key,)))
        self._stages.tell("rebuild", self.published.computed)

    def _give_up(self, organization_id: UUID, failure: BaseException) -> None:
        error_class, bench = type(failure).__name__, self._bench
        self.published.failed[organization_id] = error_class
        with connect(bench.databases.analytics_url, bench.settings) as analytics:
            outcomes.record(
                analytics, bench.edition.run_id, [organization_id], seconds=0, error_class=error_class
            )
        passing(FaultPoint.FAILURE_RECORDED)

    def _replace(self, each: _Portion) -> Published:
        ids, current = each.organization_ids, self._bench.edition.definition_version

        def settled(analytics: Connection) -> None:
            settle_rebuild(analytics, ids, current, each.within.until)
            passing(FaultPoint.REBUILD_SETTLED)

        return self._bench.replace_ranges(ids, [each.within], also=settled)


def _portions(bench: Workbench) -> Iterator[_Portion]:
    """Small organizations some at a time, whole; the months of a large one some at a time."""
    stale, current = bench.seen, bench.edition.definition_version
    mine = pl.col("organization_id").is_in(id_series("organization_id", stale).implode())
    sizes = bucket_sizes(bench.facts.scan().filter(mine), Period.MONTH, Calendar.utc())
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
            yield _Portion(tuple(together), Range())
            together, room = [], CHUNK_JOBS
        together.append(key)
        room -= jobs[key]
    if together:
        yield _Portion(tuple(together), Range())


def _months(key: UUID, months: list[tuple[datetime, int]], since: datetime | None) -> Iterator[_Portion]:
    room = CHUNK_JOBS
    begun = False
    for month, jobs in months:
        if since and month < since:
            continue
        if begun and jobs > room:
            yield _Portion((key,), Range(since, month))
            since, room = month, CHUNK_JOBS
        begun = True
        room -= jobs
    yield _Portion((key,), Range(since))
