"""From the facts to the aggregates: batches of organizations, each replaced in one transaction of its own."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol, TypeVar
from uuid import UUID

import polars as pl

from pipelines.compute.aggregate import Aggregator
from pipelines.compute.engine import CHUNK_JOBS, Cells, Desk, weight
from pipelines.errors import (
    DeletesNotAccepted,
    ExecutionMetricsError,
    FeedLost,
    PublishConflict,
    UnknownTimeZone,
)
from pipelines.extract.delete_guard import lost_with_facts
from pipelines.extract.extractor import Extraction, Request
from pipelines.facts.causes import with_cause
from pipelines.facts.fact_table import Facts
from pipelines.facts.health import reading_facts
from pipelines.facts.spool import Spool, temporary_spool
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import id_series, of_organizations, uuids
from pipelines.postgres.connections import Connection, Databases, commit, connect
from pipelines.postgres.statements import statement
from pipelines.prefetch import read_ahead
from pipelines.progress import Stages
from pipelines.publish.batches import Batch, by_work, settle
from pipelines.publish.writer import Edition, Publication
from pipelines.settings import Settings
from pipelines.state import outcomes
from pipelines.state.anomalies import list_anomalies, unlist_anomalies
from pipelines.state.definitions import version_of
from pipelines.state.dimension_tables import copy_names
from pipelines.state.retention import find_removed_before
from pipelines.state.stored_cells import find_with_cells
from pipelines.state.time_zones import keep_offsets
from pipelines.state.watermarks import (
    Advance,
    Progress,
    Shown,
    advance,
    find_progress,
    move_cursors,
    published_by,
    withhold,
)
from pipelines.subjects.definition import definition
from pipelines.subjects.measures import DIMENSIONS
from pipelines.subjects.outcomes import OutcomeOf
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import Restated

_LOCAL_PERIODS: Final = (Period.DAY, Period.WEEK, Period.MONTH)

# No definition has this number, so whichever comes next, the cells are computed anew.
_NO_DEFINITION: Final = 0

S = TypeVar("S", bound=Shown)


@dataclass
class Published:
    """How many cells were computed anew, written because they differed, deleted because emptied, restated.

    `failed` names the class of what went wrong with the organizations that stay as they were.
    """

    computed: int = 0
    written: int = 0
    deleted: int = 0
    restated: int = 0
    failed: dict[UUID, str] = field(default_factory=dict)

    def __add__(self, other: "Published") -> "Published":
        return Published(
            self.computed + other.computed,
            self.written + other.written,
            self.deleted + other.deleted,
            self.restated + other.restated,
            self.failed | other.failed,
        )


def publish(databases: Databases, settings: Settings, extraction: Extraction, stages: Stages) -> Published:
    """Make the cells of the extraction's organizations, and what goes with them, those of its facts.

    A batch of organizations that fails is halved until the culprit is alone; the others are published. The
    caller holds the refresh lock. Raises `PublishConflict` when somebody published meanwhile.
    """
    facts = extraction.facts
    with connect(databases.analytics_url, settings) as analytics:
        seen = find_progress(analytics)
        if seen != extraction.seen:
            raise PublishConflict
        withheld = not_believed(analytics, settings, extraction, facts, facts.scan())
        definition_version = version_of(analytics, definition(settings.rollup_plan))
        removed_before = find_removed_before(analytics)
        with_cells = find_with_cells(analytics, set(extraction.organization_ids) - seen.keys())
        keep_offsets(analytics, extraction.calendar)
    passing(FaultPoint.CALENDAR_KEPT)
    with (
        temporary_spool(settings.home) as images,
        Aggregator(statement("compute/cells")) as aggregator,
    ):
        plan = _Plan.of(extraction, facts, definition_version, withheld, with_cells)
        with stages.timed("compute"):
            plan = plan.without_feed(
                follow(
                    lambda followed: unpublished_images(facts, followed),
                    {key: seen[key] for key in plan.by_feed},
                    images.add,
                )
            )
            passing(FaultPoint.FEED_READ)
            batches = _batches(plan, facts, images, settings)
        edition = Edition(
            run_id=extraction.run_id,
            computed_at=extraction.moment.extracted_at,
            definition_version=definition_version,
            open_since=extraction.calendar.open_since(
                {key: seen[key].complete_through for key in plan.scope if key in seen}
            ),
            removed_before=removed_before,
        )
        press = _Press(databases, settings, extraction, stages, seen, plan, edition, aggregator, images)
        for batch in batches:
            press.settle(batch)
        for key, why in withheld.items():
            press.give_up(key, why)
    return press.published


def not_believed(
    analytics: Connection, settings: Settings, extraction: Extraction, facts: Facts, jobs: pl.LazyFrame
) -> dict[UUID, ExecutionMetricsError]:
    """Who must not be published with these jobs, and why."""
    withheld: dict[UUID, ExecutionMetricsError] = {}
    if not extraction.request.accept_deletes:
        mine = extraction.seen.keys() & set(extraction.organization_ids)
        anew = [key for key in mine if not extraction.seen[key].knows(facts)]
        calendar, sealed_before = extraction.calendar.calendar, settings.sealed_before_at
        withheld |= lost_with_facts(analytics, jobs, anew, calendar, sealed_before)
    withheld |= dict.fromkeys(extraction.withheld, DeletesNotAccepted())
    return withheld | dict.fromkeys(extraction.unknown_zones, UnknownTimeZone())


def unpublished_images(facts: Facts, published: Mapping[UUID, Progress]) -> Iterator[pl.DataFrame]:
    """Yield the jobs of these organizations that changed since their publication, as they were and are.

    Columns: `organization_id, completed_at`, the dimensions and `weight`, which tells the cause.
    """
    for recent in recent_images(facts, published, with_cause):
        yield recent.select("organization_id", "completed_at", *DIMENSIONS, weight("cause"))


def recent_images(
    facts: Facts, published: Mapping[UUID, Shown], counted: Callable[[pl.DataFrame], pl.DataFrame]
) -> Iterator[pl.DataFrame]:
    """Yield the images past their organization's published version.

    Which images count is asked of `counted`, whole commits at a time. Raises `FeedLost`.
    """
    versions = {key: seen.published_version for key, seen in published.items() if seen.shows(facts)}
    if not versions or min(versions.values()) == facts.version:
        return
    seen = pl.DataFrame(
        {
            "organization_id": id_series("organization_id", versions),
            "seen": pl.Series(list(versions.values()), dtype=pl.Int64),
        }
    )
    for written in facts.images_since(min(versions.values())):
        known = counted(written).lazy().join(seen.lazy(), on="organization_id")
        yield known.filter(pl.col("_commit_version") > pl.col("seen")).collect(engine="in-memory")


def follow(
    unpublished: Callable[[Mapping[UUID, S]], Iterable[pl.DataFrame]],
    seen: Mapping[UUID, S],
    keep: Callable[[pl.DataFrame], object],
) -> set[UUID]:
    """Keep what changed of these organizations; return those of whom the feed does not say it any more.

    Of the latter images may be kept too, and of the others some twice.
    """
    lost: set[UUID] = set()
    while followed := {key: was for key, was in seen.items() if key not in lost}:
        try:
            for images in unpublished(followed):
                keep(images)
        except FeedLost:
            # Those who lag need what is lost, the others perhaps not.
            furthest = max(was.published_version for was in followed.values())
            lagging = {key for key, was in followed.items() if was.published_version < furthest}
            lost |= lagging or followed.keys()
        else:
            break
    return lost


class Tried(Protocol):
    """What a pass has read and tries to publish, of jobs or of steps."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def withheld(self) -> Mapping[UUID, int]: ...
    @property
    def request(self) -> Request: ...


def record_failure(
    databases: Databases,
    settings: Settings,
    tried: Tried,
    organization_id: UUID,
    failure: BaseException,
    *,
    subject: OutcomeOf,
    digested: bool,
    seconds: float,
) -> str:
    """Record that an organization failed, and deletes that a digest withholds; return the failure's class."""
    error_class, withheld = type(failure).__name__, tried.withheld.get(organization_id)
    with connect(databases.analytics_url, settings) as analytics:
        outcomes.record(
            analytics,
            tried.run_id,
            [organization_id],
            seconds=seconds,
            subject=subject,
            error_class=error_class,
        )
        if withheld and digested:
            since = tried.request.created_since
            withhold(analytics, organization_id, withheld, since=since, subject=subject)
    passing(FaultPoint.FAILURE_RECORDED)
    return error_class


def find_unpublished(facts: Facts, published: Mapping[UUID, Progress]) -> set[UUID]:
    """Which of these organizations have facts that are not published yet; all, where nobody can tell."""
    waiting: set[UUID] = set()
    try:
        for images in unpublished_images(facts, published):
            waiting.update(uuids(images["organization_id"].unique()))
    except FeedLost:
        return set(published)
    return waiting


@dataclass(frozen=True)
class _Plan:
    """What has to be computed for which organizations."""

    scope: frozenset[UUID]
    first: frozenset[UUID]
    whole: Mapping[UUID, Restated]
    rezoned: frozenset[UUID]

    @classmethod
    def of(
        cls,
        extraction: Extraction,
        facts: Facts,
        definition_version: int,
        withheld: Collection[UUID],
        with_cells: Collection[UUID],
    ) -> "_Plan":
        scope, seen = set(extraction.organization_ids) - set(withheld), extraction.seen
        known = scope & set(seen)
        lost = {key for key in known if not seen[key].shows(facts)}
        stale = {key for key in lost if not seen[key].is_of(definition_version)}
        # Somebody removed what was on record of them, and not their cells.
        forgotten = (scope - known) & set(with_cells)
        return cls(
            frozenset(scope),
            first=frozenset(scope - known - forgotten),
            whole={
                key: Restated.DEFINITION if key in stale else Restated.BACKFILL for key in lost | forgotten
            },
            rezoned=frozenset(key for key in known - lost if extraction.calendar.differs(key, seen[key])),
        )

    def without_feed(self, organization_ids: Collection[UUID]) -> "_Plan":
        whole = dict.fromkeys(organization_ids, Restated.BACKFILL) | dict(self.whole)
        return _Plan(self.scope, self.first, whole, self.rezoned - whole.keys())

    @property
    def by_feed(self) -> frozenset[UUID]:
        return self.scope - self.first - self.whole.keys()


def _batches(plan: _Plan, facts: Facts, images: Spool, settings: Settings) -> list[Batch]:
    work = dict.fromkeys(plan.scope, 0)
    whole = plan.first | plan.whole.keys() | plan.rezoned
    if whole:
        counted = facts.jobs_by_organization()
        work |= {key: counted.get(key, 0) for key in whole}
    if images.rows:
        changed = images.scan().group_by("organization_id").len("jobs").collect()
        for key, jobs in zip(uuids(changed["organization_id"]), changed["jobs"], strict=True):
            if key in work:
                work[key] += jobs
    return by_work(work, room=CHUNK_JOBS, most=settings.batch_organizations)


class _Press:
    """Publishes batches, and remembers what became of them."""

    def __init__(
        self,
        databases: Databases,
        settings: Settings,
        extraction: Extraction,
        stages: Stages,
        seen: Mapping[UUID, Progress],
        plan: _Plan,
        edition: Edition,
        aggregator: Aggregator,
        images: Spool,
    ) -> None:
        self._databases, self._settings = databases, settings
        self._extraction, self._stages, self._seen = extraction, stages, seen
        self._plan, self._edition = plan, edition
        self._aggregator, self._images = aggregator, images
        self._begun = 0.0
        self.published = Published()

    def settle(self, batch: Batch) -> None:
        """Publish a batch, or its halves if it cannot be, down to the organization that is to blame."""
        settle(batch, self._publish, overtaken=self._overtaken, give_up=self._give_up_late)

    def _overtaken(self, batch: Batch) -> bool:
        """Whether another run has published one of these, as it can when our lock was lost."""
        with connect(self._databases.analytics_url, self._settings) as analytics:
            now = find_progress(analytics)
        return any(now.get(key) != self._seen.get(key) for key in batch)

    def _give_up_late(self, organization_id: UUID, failure: BaseException) -> None:
        self.give_up(organization_id, failure, time.monotonic() - self._begun)

    def give_up(self, organization_id: UUID, failure: BaseException, seconds: float = 0.0) -> None:
        """Record that an organization failed; it stays as it was, and its cursor too."""
        self.published.failed[organization_id] = record_failure(
            self._databases,
            self._settings,
            self._extraction,
            organization_id,
            failure,
            subject=OutcomeOf.JOBS,
            digested=self._extraction.request.digests or organization_id in self._extraction.recounted,
            seconds=seconds,
        )

    def _publish(self, batch: Batch) -> None:
        self._begun = time.monotonic()
        mine, plan, reason = set(batch), self._plan, self._extraction.reason
        with (
            reading_facts(self._settings.facts_location),
            connect(self._databases.analytics_url, self._settings) as analytics,
        ):
            passing(FaultPoint.BATCH_BEGUN)
            publication = Publication(analytics, self._edition)
            computed = 0
            if mine & plan.first:
                cells = self._desk.all_cells(mine & plan.first, Restated.LATE)
                computed += self._pass_on(cells, publication.add_first)
            for why in set(plan.whole.values()):
                these = {key for key in mine & plan.whole.keys() if plan.whole[key] is why}
                computed += self._pass_on(self._desk.all_cells(these, why), publication.stage)
                if these:
                    publication.stage_leftovers(these, why)
            rezoned = mine & plan.rezoned
            if rezoned:
                cells = self._desk.all_cells(rezoned, Restated.TIME_ZONE, periods=_LOCAL_PERIODS)
                computed += self._pass_on(cells, publication.stage)
                publication.stage_leftovers(rezoned, Restated.TIME_ZONE, periods=_LOCAL_PERIODS)
            if self._images.rows:
                for followed, periods in (
                    (mine & plan.by_feed - rezoned, tuple(Period)),
                    (rezoned, (Period.HOUR,)),
                ):
                    if followed:
                        changed = self._changed(followed)
                        cells = self._desk.changed_cells(changed, periods=periods, reason=reason)
                        computed += self._pass_on(cells, publication.stage)
            passing(FaultPoint.CELLS_COMPUTED)
            with self._stages.timed("publish"):
                publication.replace()
                self._record(analytics, batch, time.monotonic() - self._begun)
                self._commit(analytics, batch)
            self._count(publication, computed)

    @cached_property
    def _desk(self) -> Desk:
        extraction, plan = self._extraction, self._settings.rollup_plan
        return Desk(extraction.facts.scan(), extraction.calendar.calendar, plan, self._aggregator)

    def _changed(self, organization_ids: Collection[UUID]) -> pl.LazyFrame:
        return self._images.scan().filter(of_organizations(organization_ids))

    def _pass_on(self, cells: Cells, write: Callable[[pl.DataFrame], None]) -> int:
        """Write cells as they come, while the next ones are computed; return how many came."""
        computed = 0
        for chunk in read_ahead(self._stages.timed_each("compute", cells)):
            with self._stages.timed("publish"):
                write(chunk)
            passing(FaultPoint.CHUNK_WRITTEN)
            computed += chunk.height
            self._stages.tell("publish", self.published.computed + computed)
        return computed

    def _record(self, analytics: Connection, batch: Batch, seconds: float) -> None:
        """Write what goes with the cells: names, anomalies, how complete they are, and that it went well."""
        extraction = self._extraction
        copy_names(analytics, extraction.names.of(batch))
        passing(FaultPoint.NAMES_COPIED)
        ids = id_series("organization_id", batch).implode()
        unlist_anomalies(analytics, extraction.healed.filter(pl.col("organization_id").is_in(ids)))
        passing(FaultPoint.ANOMALIES_UNLISTED)
        found = extraction.found.filter(pl.col("organization_id").is_in(ids))
        list_anomalies(analytics, found, extraction.moment.extracted_at)
        passing(FaultPoint.ANOMALIES_LISTED)
        advance(
            analytics,
            self._advances(batch),
            seen=self._seen,
            extracted_at=extraction.moment.extracted_at,
            facts=extraction.facts,
            run_id=extraction.run_id,
            current_definition=self._edition.definition_version,
            settled_since=extraction.request.settled_since,
        )
        passing(FaultPoint.VERSION_PUBLISHED)
        move_cursors(analytics, extraction.swept & set(batch), extraction.moment)
        passing(FaultPoint.CURSORS_MOVED)
        outcomes.record(analytics, extraction.run_id, batch, seconds=seconds)

    def _advances(self, batch: Batch) -> Sequence[Advance]:
        calendar = self._extraction.calendar
        return [
            Advance(
                key,
                complete_through=self._extraction.complete_through[key],
                definition_version=self._definition_of(key),
                time_zone=calendar.zone_of(key),
                zone_offsets=calendar.fingerprint(key, self._extraction.moment.extracted_at),
            )
            for key in batch
        ]

    def _definition_of(self, key: UUID) -> int:
        """The definition of all of its cells; of none while those that did not change are of another."""
        current = self._edition.definition_version
        anew = key in self._plan.first or key in self._plan.whole
        return current if anew or self._seen[key].is_of(current) else _NO_DEFINITION

    def _commit(self, analytics: Connection, batch: Batch) -> None:
        """Commit; when the answer is lost, look whether it was made instead of guessing."""
        passing(FaultPoint.BEFORE_COMMIT)

        def made() -> bool:
            with connect(self._databases.analytics_url, self._settings) as again:
                return published_by(again, self._extraction.run_id, batch)

        commit(analytics, made=made)
        passing(FaultPoint.AFTER_COMMIT)

    def _count(self, publication: Publication, computed: int) -> None:
        self.published.computed += computed
        self.published.written += publication.written
        self.published.deleted += publication.deleted
        self.published.restated += publication.restated
