"""Cells computed anew from the facts alone, in place of what is stored."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from uuid import UUID, uuid4

from pipelines.compute.aggregate import Aggregator
from pipelines.compute.engine import ALL_PERIODS, Cells, Desk
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.health import reading_facts
from pipelines.fault_points import FaultPoint, passing
from pipelines.postgres.connections import Connection, Databases, connect
from pipelines.postgres.statements import statement
from pipelines.publish.publisher import Published, find_unpublished
from pipelines.publish.writer import ALWAYS, Edition, Publication
from pipelines.settings import Settings
from pipelines.state.definitions import version_of
from pipelines.state.retention import find_removed_before
from pipelines.state.time_zones import ReadCalendar, find_calendar
from pipelines.state.watermarks import Progress, find_progress, hold, renew_edition
from pipelines.subjects.definition import definition
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import Restated


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


@dataclass(frozen=True)
class Workbench:
    """What is needed to replace cells of the organizations in `seen`, and why they are replaced."""

    databases: Databases
    settings: Settings
    reason: Restated
    seen: Mapping[UUID, Progress]
    facts: Facts
    calendar: ReadCalendar
    desk: Desk
    edition: Edition

    def replace_ranges(
        self,
        organization_ids: Collection[UUID],
        ranges: Collection[Range],
        *,
        also: Callable[[Connection], object] = lambda _: None,
    ) -> Published:
        """Replace all cells in some ranges; in the same transaction do what goes with it."""
        cells = (
            self.desk.all_cells(
                organization_ids, self.reason, periods=each.periods, between=(each.since, each.until)
            )
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
        with connect(self.databases.analytics_url, self.settings) as analytics:
            passing(FaultPoint.BATCH_BEGUN)
            publication = Publication(analytics, self.edition)
            for some in chain.from_iterable(cells):
                publication.stage(some)
                passing(FaultPoint.CHUNK_WRITTEN)
                computed += some.height
            for each in complete:
                publication.stage_leftovers(
                    organization_ids, self.reason, periods=each.periods, between=each.bounds
                )
            publication.replace()
            hold(analytics, {key: self.seen[key] for key in organization_ids})
            if publication.written or publication.deleted:
                renew_edition(analytics, organization_ids)
            also(analytics)
            passing(FaultPoint.BEFORE_COMMIT)
            analytics.commit()
            passing(FaultPoint.AFTER_COMMIT)
        return Published(computed, publication.written, publication.deleted, publication.restated)


@contextmanager
def workbench(
    databases: Databases,
    settings: Settings,
    reason: Restated,
    *,
    wanted: Callable[[Progress, int], bool],
) -> Iterator[Workbench]:
    """Yield a workbench for those who are `wanted`, by their progress and the current definition.

    Who shows other facts, or has facts that are not published yet, is left out: cells are not to be of two
    versions. The caller holds the refresh lock.
    """
    with connect(databases.analytics_url, settings) as analytics:
        progress = find_progress(analytics)
        current = version_of(analytics, definition(settings.rollup_plan))
        removed_before = find_removed_before(analytics)
        calendar = find_calendar(analytics)
    with (
        reading_facts(settings.facts_location),
        Aggregator(statement("compute/cells")) as aggregator,
    ):
        facts = open_facts(settings)
        seen = {key: each for key, each in progress.items() if wanted(each, current) and each.shows(facts)}
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
        yield Workbench(databases, settings, reason, seen, facts, calendar, desk, edition)
