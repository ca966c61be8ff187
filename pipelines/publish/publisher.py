"""From the facts to the aggregates: batches of organizations, each replaced in one transaction of its own."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.compute.engine import (
    CHUNK_ROWS,
    AllCells,
    Cells,
    ChangedCells,
    ComputeEngine,
    DuckDBEngine,
    weight,
)
from pipelines.errors import FeedLost, PublishConflict
from pipelines.extract.delete_guard import find_guarded
from pipelines.extract.request import Extraction
from pipelines.facts.change_feed import with_cause
from pipelines.facts.fact_table import Facts
from pipelines.facts.health import reading_facts
from pipelines.facts.spool import Spool, temporary_spool
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import id_series, of_organizations, prefetch, uuids
from pipelines.postgres.connections import Connection, Run, commit
from pipelines.publish.batches import Batch, bisect, by_work
from pipelines.publish.writer import PublishContext, Writer
from pipelines.state.anomalies import list_anomalies, unlist_anomalies
from pipelines.state.dimension_tables import copy_names
from pipelines.state.stored_cells import find_removed_before, find_with_cells, version_of
from pipelines.state.time_zones import keep_offsets
from pipelines.state.watermarks import (
    Advance,
    Watermarks,
    advance,
    find_watermarks,
    guard_deletes,
    published_by,
    record_outcomes,
)
from pipelines.subjects.reasons import Restated
from pipelines.subjects.rollup import LOCAL_PERIODS, Period
from pipelines.subjects.subject import Subject

# No definition has this number, so whichever comes next, the cells are computed anew.
_NO_DEFINITION: Final = 0


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

    def count(self, writer: Writer, computed: int) -> None:
        """Add what a writer has written."""
        self.computed += computed
        self.written += writer.written
        self.deleted += writer.deleted
        self.restated += writer.restated


def publish(run: Run, extraction: Extraction) -> Published:
    """Make the cells of the extraction's organizations, and what goes with them, those of its facts.

    A batch of organizations that fails is bisected until the culprit is alone; the others are published. The
    caller holds the refresh lock. Raises `PublishConflict` when somebody published meanwhile.
    """
    subject, facts, settings = extraction.subject, extraction.facts, run.settings
    with run.analytics() as analytics:
        seen = find_watermarks(analytics, subject)
        if seen != extraction.seen:
            raise PublishConflict
        guarded = find_guarded(analytics, settings, extraction, facts.scan())
        definition_version = version_of(analytics, subject.definition(settings.plan_of(subject)))
        removed_before = find_removed_before(analytics)
        with_cells = find_with_cells(analytics, subject, set(extraction.organization_ids) - seen.keys())
        if extraction.findings:
            keep_offsets(analytics, extraction.calendar)
    passing(FaultPoint.CALENDAR_KEPT)
    with (
        temporary_spool(settings.home, subject.fact) as changes,
        DuckDBEngine(
            facts.scan(), extraction.calendar.calendar, settings.plan_of(subject), subject
        ) as engine,
    ):
        plan = _Plan.of(extraction, definition_version, guarded, with_cells)
        with run.stages.timed(subject.stage("compute")):
            plan = plan.without_feed(
                follow(facts, subject, {key: seen[key] for key in plan.by_feed}, changes.add)
            )
            passing(FaultPoint.FEED_READ)
            batches = _batches(run, plan, facts, changes)
        context = PublishContext(
            subject=subject,
            run_id=extraction.run_id,
            computed_at=extraction.extracted_at,
            definition_version=definition_version,
            calendar=extraction.calendar,
            complete_through={key: seen[key].complete_through for key in plan.scope if key in seen},
            removed_before=removed_before,
            sealed_before=extraction.sealed_before,
        )
        publisher = Publisher(run, extraction, plan, context, engine, changes)
        for batch in batches:
            bisect(batch, publisher.publish, overtaken=publisher.overtaken, give_up=publisher.give_up)
        for key, why in guarded.items():
            publisher.give_up(key, why)
    return publisher.published


def unpublished_changes(facts: Facts, subject: Subject, published: Watermarks) -> Iterator[pl.DataFrame]:
    """Yield the rows of these organizations that changed since their publication, as they were and are.

    Columns: `organization_id, completed_at`, the dimensions and `weight`, which tells the cause. Raises
    `FeedLost`.
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
    for written in facts.changes_since(min(versions.values())):
        known = with_cause(written, subject).lazy().join(seen.lazy(), on="organization_id")
        recent = known.filter(pl.col("_commit_version") > pl.col("seen")).collect(engine="in-memory")
        yield recent.select("organization_id", subject.fact.time, *subject.dimension_columns, weight("cause"))


def follow(
    facts: Facts, subject: Subject, seen: Watermarks, keep: Callable[[pl.DataFrame], object]
) -> set[UUID]:
    """Keep what changed of these organizations; return those whose changes the feed does not have any more.

    Of the latter changes may be kept too, and of the others some twice.
    """
    lost: set[UUID] = set()
    while followed := {key: was for key, was in seen.items() if key not in lost}:
        try:
            for changes in unpublished_changes(facts, subject, followed):
                keep(changes)
        except FeedLost:
            # Those who lag need what is lost, the others perhaps not.
            furthest = max(was.published_version for was in followed.values())
            lagging = {key for key, was in followed.items() if was.published_version < furthest}
            lost |= lagging or followed.keys()
        else:
            break
    return lost


def find_unpublished(facts: Facts, subject: Subject, published: Watermarks) -> set[UUID]:
    """The organizations with facts that are not published yet; all of them, where the feed is lost."""
    waiting: set[UUID] = set()
    try:
        for changes in unpublished_changes(facts, subject, published):
            waiting.update(uuids(changes["organization_id"].unique()))
    except FeedLost:
        return set(published)
    return waiting


def record_failure(
    run: Run,
    subject: Subject,
    run_id: UUID,
    organization_id: UUID,
    failure: BaseException,
    *,
    seconds: float = 0,
    also: Callable[[Connection], object] = lambda _: None,
) -> str:
    """Record that an organization failed, and do what goes with it; return the class of the failure."""
    error_class = type(failure).__name__
    with run.analytics() as analytics:
        also(analytics)
        record_outcomes(
            analytics, run_id, [organization_id], seconds=seconds, subject=subject, error_class=error_class
        )
    passing(FaultPoint.FAILURE_RECORDED)
    return error_class


@dataclass(frozen=True)
class _Plan:
    """What has to be computed for which organizations.

    `first` have no cells yet, cells of the `whole` are all computed for that reason, and days, weeks and
    months of the `rezoned`; of the others what changed.
    """

    scope: frozenset[UUID]
    first: frozenset[UUID]
    whole: Mapping[UUID, Restated]
    rezoned: frozenset[UUID]

    @classmethod
    def of(
        cls,
        extraction: Extraction,
        definition_version: int,
        guarded: Collection[UUID],
        with_cells: Collection[UUID],
    ) -> "_Plan":
        scope, seen = set(extraction.organization_ids) - set(guarded), extraction.seen
        known = scope & set(seen)
        lost = {key for key in known if not seen[key].shows(extraction.facts)}
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


def _batches(run: Run, plan: _Plan, facts: Facts, changes: Spool) -> list[Batch]:
    work = dict.fromkeys(plan.scope, 0)
    whole = plan.first | plan.whole.keys() | plan.rezoned
    if whole:
        counted = facts.rows_by_organization()
        work |= {key: counted.get(key, 0) for key in whole}
    if changes.rows:
        changed = changes.scan().group_by("organization_id").len("rows").collect()
        for key, rows in zip(uuids(changed["organization_id"]), changed["rows"], strict=True):
            if key in work:
                work[key] += rows
    return by_work(work, room=CHUNK_ROWS, most=run.settings.batch_organizations)


class Publisher:
    """Publishes batches of one extraction, and remembers what became of them."""

    def __init__(
        self,
        run: Run,
        extraction: Extraction,
        plan: _Plan,
        context: PublishContext,
        engine: ComputeEngine,
        changes: Spool,
    ) -> None:
        self._run, self._extraction, self._plan = run, extraction, plan
        self._context, self._engine, self._changes = context, engine, changes
        self._subject = extraction.subject
        self._begun = time.monotonic()
        self.published = Published()

    def overtaken(self, batch: Batch) -> bool:
        """Whether another run has published one of these, as it can when our lock was lost."""
        with self._run.analytics() as analytics:
            now = find_watermarks(analytics, self._subject)
        return any(now.get(key) != self._extraction.seen.get(key) for key in batch)

    def give_up(self, organization_id: UUID, failure: BaseException) -> None:
        """Record that an organization failed; it stays as it was, and its watermark too."""
        extraction = self._extraction
        rows = extraction.guarded.get(organization_id)
        compared = extraction.request.compares or organization_id in extraction.recounted

        def guard(analytics: Connection) -> None:
            if rows and compared:
                since = extraction.request.created_since
                guard_deletes(analytics, self._subject, organization_id, rows, since=since)

        self.published.failed[organization_id] = record_failure(
            self._run,
            self._subject,
            extraction.run_id,
            organization_id,
            failure,
            seconds=time.monotonic() - self._begun,
            also=guard,
        )

    def publish(self, batch: Batch) -> None:
        """Replace the cells of these organizations, and what goes with them, in one transaction."""
        self._begun = time.monotonic()
        with (
            reading_facts(self._run.settings.location_of(self._subject.fact.table), self._subject.fact),
            self._run.analytics() as analytics,
        ):
            passing(FaultPoint.BATCH_BEGUN)
            writer = Writer(analytics, self._context)
            computed = self._write_cells(writer, set(batch))
            passing(FaultPoint.CELLS_COMPUTED)
            with self._timed("publish"):
                writer.replace()
                self._record(analytics, batch)
                self._commit(analytics, batch)
        self.published.count(writer, computed)

    def _write_cells(self, writer: Writer, mine: set[UUID]) -> int:
        """Stage the cells of these organizations that are computed anew; return how many came."""
        plan, computed = self._plan, 0
        if first := mine & plan.first:
            computed += self._pass_on(self._engine.cells(AllCells(first, Restated.LATE)), writer.insert)
        for why in set(plan.whole.values()):
            these = {key for key in mine & plan.whole.keys() if plan.whole[key] is why}
            computed += self._pass_on(self._engine.cells(AllCells(these, why)), writer.stage)
            if these:
                writer.stage_leftovers(these, why)
        rezoned = mine & plan.rezoned
        if rezoned:
            which = AllCells(rezoned, Restated.TIME_ZONE, LOCAL_PERIODS)
            computed += self._pass_on(self._engine.cells(which), writer.stage)
            writer.stage_leftovers(rezoned, Restated.TIME_ZONE, periods=LOCAL_PERIODS)
        if self._changes.rows:
            for followed, periods in (
                (mine & plan.by_feed - rezoned, tuple(Period)),
                (rezoned, (Period.HOUR,)),
            ):
                if followed:
                    changed = ChangedCells(self._changed(followed), periods, self._extraction.reason)
                    computed += self._pass_on(self._engine.cells(changed), writer.stage)
        return computed

    def _changed(self, organization_ids: Collection[UUID]) -> pl.LazyFrame:
        return self._changes.scan().filter(of_organizations(organization_ids))

    def _pass_on(self, cells: Cells, write: Callable[[pl.DataFrame], None]) -> int:
        """Write cells as they come, while the next ones are computed; return how many came."""
        computed = 0
        for chunk in prefetch(self._run.stages.timed_each(self._subject.stage("compute"), cells)):
            with self._timed("publish"):
                write(chunk)
            passing(FaultPoint.CHUNK_WRITTEN)
            computed += chunk.height
            self._run.stages.tell(self._subject.stage("publish"), self.published.computed + computed)
        return computed

    def _record(self, analytics: Connection, batch: Batch) -> None:
        """Write what goes with the cells: names, anomalies, how complete they are, and that it went well."""
        extraction, findings = self._extraction, self._extraction.findings
        if findings:
            copy_names(analytics, findings.names.of(batch))
            passing(FaultPoint.NAMES_COPIED)
            unlist_anomalies(analytics, findings.healed.filter(of_organizations(batch)))
            passing(FaultPoint.ANOMALIES_UNLISTED)
            found = findings.found.filter(of_organizations(batch))
            list_anomalies(analytics, found, extraction.extracted_at)
            passing(FaultPoint.ANOMALIES_LISTED)
        advance(
            analytics,
            self._subject,
            list(self._advances(batch)),
            seen=extraction.seen,
            checkpoint=extraction.checkpoint,
            extracted_at=extraction.extracted_at,
            facts=extraction.facts,
            run_id=extraction.run_id,
            current_definition=self._context.definition_version,
            settled_since=extraction.request.settled_since,
        )
        passing(FaultPoint.VERSION_PUBLISHED)
        seconds = time.monotonic() - self._begun
        record_outcomes(analytics, extraction.run_id, batch, seconds=seconds, subject=self._subject)

    def _advances(self, batch: Batch) -> Iterable[Advance]:
        extraction = self._extraction
        for key in batch:
            yield Advance(
                key,
                complete_through=extraction.complete_through[key],
                definition_version=self._definition_of(key),
                time_zone=extraction.calendar.zone_of(key),
                zone_offsets=extraction.calendar.fingerprint(key, extraction.extracted_at),
                swept=key in extraction.swept,
            )

    def _definition_of(self, key: UUID) -> int:
        """The definition of all of its cells; of none while those that did not change are of another."""
        current = self._context.definition_version
        anew = key in self._plan.first or key in self._plan.whole
        return current if anew or self._extraction.seen[key].is_of(current) else _NO_DEFINITION

    def _commit(self, analytics: Connection, batch: Batch) -> None:
        """Commit; when the answer is lost, look whether it was made instead of guessing."""
        passing(FaultPoint.BEFORE_COMMIT)

        def made() -> bool:
            with self._run.analytics() as again:
                return published_by(again, self._subject, self._extraction.run_id, batch)

        commit(analytics, made=made)
        passing(FaultPoint.AFTER_COMMIT)

    def _timed(self, stage: str) -> AbstractContextManager[None]:
        return self._run.stages.timed(self._subject.stage(stage))
