"""From the source's logs to the facts of steps: read what changed, merge it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Final
from uuid import UUID, uuid4

import polars as pl

from pipelines.calendars.local_ranges import LocalRange, between
from pipelines.extract.delete_guard import counts, suspicious
from pipelines.extract.extractor import Request, horizon_of
from pipelines.facts.checksums import differing_days, digest
from pipelines.facts.delta import STEP_FACTS
from pipelines.facts.fact_table import Absorbed, Facts, open_facts
from pipelines.facts.spool import Spool, temporary_spool
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import of_organizations, uuids
from pipelines.postgres.connections import Databases, connect
from pipelines.prefetch import read_ahead
from pipelines.progress import Stages
from pipelines.settings import Settings
from pipelines.source.snapshot import SourceSnapshot, open_source
from pipelines.source.steps import Cursor, Frames, StepSource
from pipelines.state.step_watermarks import StepProgress, disown_lost_step_versions, find_step_progress
from pipelines.state.time_zones import ReadCalendar, find_calendar
from pipelines.state.watermarks import find_progress
from pipelines.subjects.jobs import Gone

# As the facts lie in their files.
_FACTS_ORDER: Final = ("completed_date", "organization_id", "completed_at")


@dataclass(frozen=True)
class StepExtraction:
    """What one snapshot of the logs held; its steps are in the facts, the rest waits to be published.

    `not_counted` are lines that name a step and were read but may not be counted, and `withheld` says of how
    many steps an organization would be rid that are gone from the source; `request` is what was asked for.
    Cells that begin before `sealed_before` may count steps that the source no longer has.
    """

    run_id: UUID
    horizon: int
    incarnation: str
    extracted_at: datetime
    organization_ids: tuple[UUID, ...]
    seen: Mapping[UUID, StepProgress]
    sealed_before: datetime | None
    withheld: Mapping[UUID, int]
    request: Request
    read: int
    not_counted: int
    absorbed: Absorbed
    facts: Facts


def extract_steps(
    databases: Databases, settings: Settings, request: Request, stages: Stages
) -> StepExtraction | None:
    """Merge into the facts the steps that changed, and what a digest finds to differ; None without logs.

    Organizations whose jobs were never published are left for later. The caller holds the refresh lock.
    Raises `SourceMissing`, `FactsUnusable`, `FactsConflict`.
    """
    with (
        stages.timed("extract_steps"),
        gathered_steps(databases, settings, request, stages) as (extraction, spool),
    ):
        if extraction is None:
            return None
        facts = extraction.facts
        # Chunks share no step, so while the first ones fill an empty table there is nothing to look up.
        absorb = facts.fill if facts.empty else facts.absorb
        absorbed = sum(map(absorb, spool.chunks(_FACTS_ORDER)), Absorbed())
        passing(FaultPoint.FACTS_ABSORBED)
        return replace(extraction, absorbed=absorbed)


@contextmanager
def gathered_steps(
    databases: Databases, settings: Settings, request: Request, stages: Stages, *, dry: bool = False
) -> Iterator[tuple[StepExtraction | None, Spool]]:
    """Read what `extract_steps` would merge, and merge nothing: yield it with the spooled rows.

    A `dry` one changes neither the facts nor what is on record of them.
    """
    with temporary_spool(settings.home, STEP_FACTS) as spool:
        with open_source(databases.source_url, settings) as source:
            extraction = _extraction(databases, settings, request, stages, source, spool, dry=dry)
        yield extraction, spool


def _extraction(
    databases: Databases,
    settings: Settings,
    request: Request,
    stages: Stages,
    source: SourceSnapshot,
    spool: Spool,
    *,
    dry: bool,
) -> StepExtraction | None:
    steps = StepSource(source, settings)
    if not steps.has_steps:
        return None
    facts = open_facts(settings, STEP_FACTS)
    if not dry:
        facts.add_columns()
    with connect(databases.analytics_url, settings) as analytics:
        known, calendar = find_progress(analytics), find_calendar(analytics)
        seen = find_step_progress(analytics) if dry else disown_lost_step_versions(analytics, facts)
    scope = tuple(sorted(known.keys() & set(request.organization_ids or known)))
    within = _within(request, calendar, scope)
    reading = _Reading(steps, source.cancel, settings, request, within, facts, spool, stages)
    moment, incarnation = source.moment, steps.incarnation
    cursors = {key: _cursor(seen.get(key), incarnation, moment.horizon, facts, settings) for key in scope}
    reading.read_changes(cursors)
    withheld = reading.read_what_is_gone(scope, cursors)
    passing(FaultPoint.STEPS_READ)
    return StepExtraction(
        run_id=uuid4(),
        horizon=moment.horizon,
        incarnation=incarnation,
        extracted_at=moment.extracted_at,
        organization_ids=scope,
        seen=seen,
        sealed_before=reading.sealed_before,
        withheld=withheld,
        request=request,
        read=spool.rows,
        not_counted=reading.not_counted,
        absorbed=Absorbed(),
        facts=facts,
    )


class _Reading:
    """What one pass asks of the logs; steps are spooled for the facts as they stream in."""

    def __init__(
        self,
        steps: StepSource,
        cancel: Callable[[], None],
        settings: Settings,
        request: Request,
        within: LocalRange,
        facts: Facts,
        spool: Spool,
        stages: Stages,
    ) -> None:
        self._steps, self._cancel, self._settings = steps, cancel, settings
        self._within = within
        self._request, self._facts, self._spool, self._stages = request, facts, spool, stages
        self.not_counted = 0
        self.sealed_before = steps.sealed_before()

    def read_changes(self, cursors: Mapping[UUID, Cursor]) -> None:
        """Read what was written since the cursors, and older lines of jobs that were."""
        self._read(self._steps.written(cursors))
        self._read(self._steps.of_changed_jobs(cursors))

    def read_what_is_gone(self, scope: Sequence[UUID], cursors: Mapping[UUID, Cursor]) -> dict[UUID, int]:
        """Find steps that the source does not have any more; return those of whom too many are missing."""
        whole = [key for key, cursor in cursors.items() if cursor.horizon is None]
        expected = [self._facts.scan().filter(of_organizations(whole))] if whole else []
        if self._request.digests:
            days = self._differing_days(scope)
            if days.height:
                self._read(self._steps.ended_on(days))
                expected.append(self._facts.of_days(days).filter(self._within.holds()))
        if not expected:
            return {}
        steps = pl.concat(expected).unique("log_id")
        if self.sealed_before:
            steps = steps.filter(pl.col("completed_at") >= self.sealed_before)
        missing = self._unread(steps)
        self._read(self._steps.listed(uuids(missing["log_id"])))
        gone = self._unread(missing.lazy())
        withheld = {} if self._request.accept_deletes else self._suspicious(gone)
        gone = gone.filter(~of_organizations(withheld))
        self._spool.add(gone.with_columns(gone=pl.lit(Gone.DELETED.value)).select(*STEP_FACTS.columns))
        return withheld

    def _differing_days(self, scope: Sequence[UUID]) -> pl.DataFrame:
        since, until = self._within.since, self._within.until
        sealed = self.sealed_before
        if sealed:
            since = max(since, sealed) if since else sealed
        there = self._steps.digest(scope, since, until)
        read = self._spool.scan() if self._spool.rows else self._facts.scan().clear().with_columns(gone=None)
        here = self._facts.scan().join(read.select("log_id"), on="log_id", how="anti")
        now = read.filter(pl.col("gone").is_null()).select(here.collect_schema().names())
        steps = pl.concat([here, now.unique("log_id")]).filter(of_organizations(scope), between(since, until))
        return differing_days(there, digest(steps, STEP_FACTS.home), STEP_FACTS.home)

    def _read(self, frames: Frames) -> None:
        for steps in read_ahead(frames, cancel=self._cancel):
            passing(FaultPoint.STEPS_STREAMING)
            names_a_step = (pl.col("step_name") != "").fill_null(False)
            self.not_counted += steps.filter(names_a_step & ~pl.col("counts")).height
            self._spool.add(
                steps.with_columns(
                    gone=pl.when("counts").then(None).otherwise(pl.lit(Gone.EDITED.value)),
                    completed_date=pl.col("completed_at").dt.date(),
                ).select(*STEP_FACTS.columns)
            )
            self._stages.tell("extract_steps", self._spool.rows)

    def _unread(self, steps: pl.LazyFrame) -> pl.DataFrame:
        if not self._spool.rows:
            return steps.collect()
        return steps.join(self._spool.scan().select("log_id"), on="log_id", how="anti").collect()

    def _suspicious(self, gone: pl.DataFrame) -> dict[UUID, int]:
        return suspicious(counts(gone.lazy()), self._facts.jobs_by_organization()) if gone.height else {}


def _cursor(
    seen: StepProgress | None, incarnation: str, horizon: int, facts: Facts, settings: Settings
) -> Cursor:
    reached = horizon_of(seen, incarnation, horizon, facts)
    tolerance = settings.future_tolerance
    if seen is None or reached is None or tolerance is None:
        return Cursor(reached, None)
    return Cursor(reached, seen.extracted_at + tolerance)


def _within(request: Request, calendar: ReadCalendar, scope: Sequence[UUID]) -> LocalRange:
    """The range in which steps ended that a digest is asked for."""
    if request.completed:
        return request.completed.by(calendar, scope)
    since = request.created_since
    return LocalRange(datetime.combine(since, time(), UTC) if since else None)
