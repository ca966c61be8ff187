"""Stored cells that are not what the facts say, put right; what stood there is kept on record."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final
from uuid import UUID, uuid4

import polars as pl

from pipelines.compute.aggregate import Aggregator
from pipelines.extract import CompletedIn
from pipelines.fault_points import FaultPoint, passing
from pipelines.model.definition import definition
from pipelines.model.periods import Period
from pipelines.model.restatements import Restated
from pipelines.publish import Published, find_unpublished
from pipelines.recompute import Cells, Desk
from pipelines.settings import Settings
from pipelines.stages import Stages
from pipelines.storage.aggregates import ALWAYS, Edition, Publication
from pipelines.storage.calendars import find_calendar
from pipelines.storage.cursors import Progress, find_progress, hold
from pipelines.storage.database import Databases, connect
from pipelines.storage.definitions import version_of
from pipelines.storage.facts import open_facts
from pipelines.storage.facts_health import reading_facts
from pipelines.storage.frames import id_series, uuids
from pipelines.storage.retention import find_removed_before
from pipelines.storage.statements import statement

# A bucket that begins so long before a moment may reach it, whatever the clocks of its zone did.
_REACHES: Final = (
    ((Period.HOUR, Period.DAY), timedelta(days=2)),
    ((Period.WEEK,), timedelta(days=9)),
    ((Period.MONTH,), timedelta(days=33)),
)

_FIRST, _LAST = datetime(1, 6, 1, tzinfo=UTC), datetime(9999, 6, 1, tzinfo=UTC)

Range = tuple[tuple[Period, ...], tuple[datetime | None, datetime | None]]


def repair_cells(databases: Databases, settings: Settings, keys: pl.DataFrame) -> Published:
    """Compute the cells with these keys (KEY_COLUMNS) anew from the facts.

    The caller holds the refresh lock. An organization with facts that are not published yet, or with cells
    of another definition, is left alone. Raises `PublishConflict`, `FactsUnusable`.
    """
    asked = uuids(keys["organization_id"].unique())
    with _workbench(databases, settings, asked) as bench:
        mine = keys.filter(pl.col("organization_id").is_in(id_series("id", bench.seen).implode()))
        if mine.is_empty():
            return Published()
        return bench.replace(tuple(bench.seen), [bench.desk.cells_at(mine, Restated.DRIFT)])


def repair_range(
    databases: Databases,
    settings: Settings,
    organization_ids: Collection[UUID],
    within: CompletedIn,
    stages: Stages,
) -> Published:
    """The same for all cells of these organizations that reach into a range, those too many included."""
    repaired = Published()
    with stages.timed("repair"), _workbench(databases, settings, organization_ids) as bench:
        ids, some = sorted(bench.seen), settings.batch_organizations
        for batch in (ids[start : start + some] for start in range(0, len(ids), some)):
            cells = (
                bench.desk.all_cells(batch, Restated.DRIFT, periods=periods, between=between)
                for periods, between in reaching(within)
            )
            repaired += bench.replace(batch, cells, reaching(within))
            stages.tell("repair", repaired.computed)
    return repaired


def reaching(within: CompletedIn) -> Iterator[Range]:
    """Where the cells begin that may reach into a range: some periods, and [since, until) of their starts."""
    until = within.until if within.until < _LAST else None
    for periods, reach in _REACHES:
        yield periods, (within.since - reach if within.since > _FIRST else None, until)


@dataclass(frozen=True)
class _Workbench:
    """What is needed to compute cells of the organizations in `seen` anew."""

    databases: Databases
    settings: Settings
    seen: Mapping[UUID, Progress]
    desk: Desk
    edition: Edition

    def replace(
        self, organization_ids: Collection[UUID], cells: Iterable[Cells], ranges: Iterable[Range] = ()
    ) -> Published:
        """Replace cells of these organizations; in ranges, which are complete, remove all others."""
        computed = 0
        with connect(self.databases.analytics_url, self.settings) as analytics:
            passing(FaultPoint.BATCH_BEGUN)
            publication = Publication(analytics, self.edition)
            for some in chain.from_iterable(cells):
                publication.stage(some)
                passing(FaultPoint.CHUNK_WRITTEN)
                computed += some.height
            for periods, (since, until) in ranges:
                publication.stage_leftovers(
                    organization_ids,
                    Restated.DRIFT,
                    periods=periods,
                    between=(since or ALWAYS[0], until or ALWAYS[1]),
                )
            publication.replace()
            hold(analytics, {key: self.seen[key] for key in organization_ids})
            passing(FaultPoint.BEFORE_COMMIT)
            analytics.commit()
            passing(FaultPoint.AFTER_COMMIT)
        return Published(computed, publication.written, publication.deleted, publication.restated)


@contextmanager
def _workbench(
    databases: Databases, settings: Settings, organization_ids: Collection[UUID]
) -> Iterator[_Workbench]:
    with connect(databases.analytics_url, settings) as analytics:
        progress = find_progress(analytics)
        current = version_of(analytics, definition(settings.rollup_plan))
        removed_before = find_removed_before(analytics)
        calendar = find_calendar(analytics)
    with (
        reading_facts(settings.facts_location),
        Aggregator(statement("compute/cells.sql")) as aggregator,
    ):
        facts = open_facts(settings)
        seen = {
            key: progress[key]
            for key in progress.keys() & set(organization_ids)
            if progress[key].shows(facts) and progress[key].is_of(current)
        }
        for key in find_unpublished(facts, seen):
            del seen[key]
        edition = Edition(
            run_id=uuid4(),
            computed_at=datetime.now(UTC),
            definition_version=current,
            open_since=calendar.open_since({key: each.complete_through for key, each in seen.items()}),
            removed_before=removed_before,
        )
        desk = Desk(facts.scan(), calendar.calendar, settings.rollup_plan, aggregator)
        yield _Workbench(databases, settings, seen, desk, edition)
