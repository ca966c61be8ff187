"""From the facts of steps to their aggregates: batches of organizations, each replaced in one transaction."""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.compute.aggregate import Aggregator
from pipelines.compute.engine import ALL_PERIODS, CHUNK_JOBS, Cells, Desk
from pipelines.errors import DeletesNotAccepted, PublishConflict
from pipelines.extract.steps import StepExtraction
from pipelines.facts.delta import STEP_FACTS
from pipelines.facts.fact_table import Facts
from pipelines.facts.health import reading_facts
from pipelines.facts.spool import Spool, temporary_spool
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import of_organizations, uuids
from pipelines.postgres.connections import Connection, Databases, commit, connect
from pipelines.postgres.statements import statement
from pipelines.prefetch import read_ahead
from pipelines.progress import Stages
from pipelines.publish.batches import Batch, by_work, settle
from pipelines.publish.publisher import follow, recent_images, record_failure
from pipelines.publish.step_writer import StepEdition, StepPublication
from pipelines.settings import Settings
from pipelines.state import outcomes
from pipelines.state.definitions import version_of
from pipelines.state.retention import find_removed_before
from pipelines.state.step_watermarks import (
    StepProgress,
    advance_steps,
    find_step_progress,
    published_steps_by,
)
from pipelines.state.time_zones import ReadCalendar, find_calendar
from pipelines.subjects.definition import step_definition
from pipelines.subjects.outcomes import OutcomeOf
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import Restated
from pipelines.subjects.rollup import STEP_ROLLUP_PLAN
from pipelines.subjects.steps import STEP_DIMENSIONS
from pipelines.subjects.subject import STEPS

_LOCAL_PERIODS: Final = (Period.DAY, Period.WEEK, Period.MONTH)


@dataclass
class PublishedSteps:
    """How many cells were computed anew, written because they differed, deleted because emptied.

    `failed` names the class of what went wrong with the organizations that stay as they were.
    """

    computed: int = 0
    written: int = 0
    deleted: int = 0
    failed: dict[UUID, str] = field(default_factory=dict)


def publish_steps(
    databases: Databases, settings: Settings, extraction: StepExtraction, stages: Stages
) -> PublishedSteps:
    """Make the cells of the extraction's organizations those of its facts.

    Days, weeks and months begin where those of their jobs do. The caller holds the refresh lock. Raises
    `PublishConflict` when somebody published meanwhile.
    """
    facts = extraction.facts
    with connect(databases.analytics_url, settings) as analytics:
        seen = find_step_progress(analytics)
        if seen != extraction.seen:
            raise PublishConflict
        calendar = find_calendar(analytics)
        definition_version = version_of(analytics, step_definition())
        removed_before = find_removed_before(analytics)
    with (
        stages.timed("publish_steps"),
        reading_facts(settings.step_facts_location, STEP_FACTS),
        temporary_spool(settings.home, STEP_FACTS) as images,
        Aggregator(statement("compute/step_cells"), STEPS) as aggregator,
    ):
        plan = _Plan.of(extraction, facts, definition_version, calendar, images)
        passing(FaultPoint.FEED_READ)
        edition = StepEdition(
            computed_at=extraction.extracted_at,
            definition_version=definition_version,
            removed_before=removed_before,
            sealed_before=extraction.sealed_before,
        )
        press = _Press(
            databases, settings, extraction, facts, calendar, plan, edition, aggregator, images, stages
        )
        for batch in plan.batches(facts, images, settings.batch_organizations):
            settle(batch, press.publish, overtaken=press.overtaken, give_up=press.give_up)
        for key in extraction.withheld:
            press.give_up(key, DeletesNotAccepted())
    return press.published


def unpublished_steps(facts: Facts, published: Mapping[UUID, StepProgress]) -> Iterator[pl.DataFrame]:
    """Yield the steps of these organizations that changed since their publication, as they were and are.

    Columns: `organization_id, completed_at` and the dimensions. Raises `FeedLost`.
    """
    for recent in recent_images(facts, published, _that_count):
        yield recent.select("organization_id", "completed_at", *STEP_DIMENSIONS)


def _that_count(images: pl.DataFrame) -> pl.DataFrame:
    return images.filter(pl.col("gone").is_null())


@dataclass(frozen=True)
class _Plan:
    """Who is computed as a whole, who by other clocks, and who by what changed."""

    whole: frozenset[UUID]
    rezoned: frozenset[UUID]
    followed: frozenset[UUID]

    @classmethod
    def of(
        cls,
        extraction: StepExtraction,
        facts: Facts,
        definition_version: int,
        calendar: ReadCalendar,
        images: Spool,
    ) -> "_Plan":
        """Spool what changed of those who follow the feed; those who cannot any more are taken whole."""
        scope = set(extraction.organization_ids) - set(extraction.withheld)
        seen = extraction.seen
        followed = {
            key
            for key in scope & seen.keys()
            if seen[key].shows(facts) and seen[key].definition_version == definition_version
        }
        followed -= follow(
            lambda those: unpublished_steps(facts, those), {key: seen[key] for key in followed}, images.add
        )
        rezoned = {key for key in followed if calendar.differs(key, seen[key])}
        return cls(frozenset(scope - followed), frozenset(rezoned), frozenset(followed))

    def batches(self, facts: Facts, images: Spool, most: int) -> list[Batch]:
        """Everybody, in portions of about so much work."""
        work = dict.fromkeys(self.whole | self.followed, 0)
        if self.whole | self.rezoned:
            counted = facts.jobs_by_organization()
            work |= {key: counted.get(key, 0) for key in self.whole | self.rezoned}
        if images.rows:
            changed = images.scan().group_by("organization_id").len("steps").collect()
            for key, steps in zip(uuids(changed["organization_id"]), changed["steps"], strict=True):
                if key in work:
                    work[key] += steps
        return by_work(work, room=CHUNK_JOBS, most=most)


class _Press:
    """Publishes batches, and remembers what became of them."""

    def __init__(
        self,
        databases: Databases,
        settings: Settings,
        extraction: StepExtraction,
        facts: Facts,
        calendar: ReadCalendar,
        plan: _Plan,
        edition: StepEdition,
        aggregator: Aggregator,
        images: Spool,
        stages: Stages,
    ) -> None:
        self._databases, self._settings, self._extraction = databases, settings, extraction
        self._facts, self._calendar, self._plan = facts, calendar, plan
        self._edition, self._aggregator, self._images, self._stages = edition, aggregator, images, stages
        self._begun = time.monotonic()
        self.published = PublishedSteps()

    def overtaken(self, batch: Batch) -> bool:
        """Whether another run has published one of these, as it can when our lock was lost."""
        with connect(self._databases.analytics_url, self._settings) as analytics:
            now = find_step_progress(analytics)
        return any(now.get(key) != self._extraction.seen.get(key) for key in batch)

    def give_up(self, organization_id: UUID, failure: BaseException) -> None:
        """Record that an organization failed; it stays as it was, and its cursor too."""
        self.published.failed[organization_id] = record_failure(
            self._databases,
            self._settings,
            self._extraction,
            organization_id,
            failure,
            subject=OutcomeOf.STEPS,
            digested=self._extraction.request.digests,
            seconds=time.monotonic() - self._begun,
        )

    def publish(self, batch: Batch) -> None:
        """Replace the cells of these organizations."""
        self._begun = time.monotonic()
        mine, plan = set(batch), self._plan
        with connect(self._databases.analytics_url, self._settings) as analytics:
            passing(FaultPoint.BATCH_BEGUN)
            publication = StepPublication(analytics, self._edition)
            computed = 0
            for whole, periods in ((mine & plan.whole, ALL_PERIODS), (mine & plan.rezoned, _LOCAL_PERIODS)):
                if whole:
                    cells = self._desk.all_cells(whole, Restated.LATE, periods=periods)
                    computed += self._stage(publication, cells)
                    publication.stage_leftovers(whole, periods)
            if self._images.rows:
                for followed, periods in (
                    (mine & plan.followed - plan.rezoned, ALL_PERIODS),
                    (mine & plan.rezoned, (Period.HOUR,)),
                ):
                    changed = self._changed(followed)
                    cells = self._desk.changed_cells(changed, periods=periods, reason=Restated.LATE)
                    computed += self._stage(publication, cells)
            passing(FaultPoint.CELLS_COMPUTED)
            publication.replace()
            self._advance(analytics, batch)
            seconds = time.monotonic() - self._begun
            outcomes.record(
                analytics, self._extraction.run_id, batch, seconds=seconds, subject=OutcomeOf.STEPS
            )
            self._commit(analytics, batch)
        self.published.computed += computed
        self.published.written += publication.written
        self.published.deleted += publication.deleted

    def _stage(self, publication: StepPublication, cells: Cells) -> int:
        """Write cells as they come, while the next ones are computed; return how many came."""
        computed = 0
        for chunk in read_ahead(cells):
            publication.stage(chunk)
            passing(FaultPoint.CHUNK_WRITTEN)
            computed += chunk.height
            self._stages.tell("publish_steps", self.published.computed + computed)
        return computed

    @cached_property
    def _desk(self) -> Desk:
        jobs, calendar = self._facts.scan(), self._calendar.calendar
        return Desk(jobs, calendar, STEP_ROLLUP_PLAN, self._aggregator, STEPS)

    def _changed(self, organization_ids: Collection[UUID]) -> pl.LazyFrame:
        return self._images.scan().filter(of_organizations(organization_ids))

    def _advance(self, analytics: Connection, batch: Batch) -> None:
        extraction, calendar = self._extraction, self._calendar
        advance_steps(
            analytics,
            {
                key: (calendar.zone_of(key), calendar.fingerprint(key, extraction.extracted_at))
                for key in batch
            },
            seen=extraction.seen,
            horizon=extraction.horizon,
            incarnation=extraction.incarnation,
            extracted_at=extraction.extracted_at,
            facts=self._facts,
            definition_version=self._edition.definition_version,
            run_id=extraction.run_id,
            settled_since=extraction.request.settled_since,
        )
        passing(FaultPoint.VERSION_PUBLISHED)

    def _commit(self, analytics: Connection, batch: Batch) -> None:
        """Commit; when the answer is lost, look whether it was made instead of guessing."""
        passing(FaultPoint.BEFORE_COMMIT)

        def made() -> bool:
            with connect(self._databases.analytics_url, self._settings) as again:
                return published_steps_by(again, self._extraction.run_id, batch)

        commit(analytics, made=made)
        passing(FaultPoint.AFTER_COMMIT)
