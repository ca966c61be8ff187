"""What a reconcile would change, found out without writing anything."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import LocalRange
from pipelines.calendars.moments import DayOrTime
from pipelines.compute.engine import AllCells, ChangedCells, DuckDBEngine
from pipelines.errors import ExecutionMetricsError
from pipelines.extract.delete_guard import find_guarded
from pipelines.extract.extractor import gather
from pipelines.extract.request import CompletedIn, Extraction, Request
from pipelines.facts.delta import opened
from pipelines.facts.health import reading_facts
from pipelines.facts.spool import Spool
from pipelines.frames import of_organizations, uuids
from pipelines.postgres.connections import Run, connections_reused
from pipelines.postgres.schema_checks import require_schema
from pipelines.publish.publisher import follow
from pipelines.publish.recompute import reaching
from pipelines.publish.writer import CellChange, Writer, proposing
from pipelines.settings import Settings
from pipelines.state.lock import refresh_lock
from pipelines.state.stored_cells import find_version
from pipelines.subjects import SUBJECTS
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.reasons import Restated
from pipelines.subjects.rollup import LOCAL_PERIODS, Period
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import TOMBSTONE, Subject


@dataclass(frozen=True)
class SubjectDryRun:
    """What would change for one organization and subject; `largest` are the cells that would change most.

    `rows` are those whose facts would change. `would_fail` is the class of what would keep all of it as it
    is; `deletes_guarded` counts rows that are gone from the source, too many to believe it.
    """

    rows: int = 0
    cells: int = 0
    deletes_guarded: int = 0
    would_fail: str | None = None
    largest: tuple[CellChange, ...] = ()


@dataclass(frozen=True)
class OrganizationDryRun:
    """What would change for one organization."""

    organization_id: UUID
    jobs: SubjectDryRun
    steps: SubjectDryRun


@connections_reused()
def dry_run(
    run: Run,
    *,
    since: DayOrTime,
    until: DayOrTime,
    organization_ids: Sequence[UUID] = (),
    accept_deletes: bool = False,
) -> tuple[OrganizationDryRun, ...]:
    """What `reconcile` with the same arguments would change; raises as it does.

    Organizations for which nothing would change are left out.
    """
    require_schema(run)
    completed = CompletedIn(since, until)
    request = Request(tuple(organization_ids), completed=completed, accept_deletes=accept_deletes)
    with refresh_lock(run), _without_new_facts(run.settings) as elsewhere:
        run = replace(run, settings=elsewhere)
        jobs, steps = (_subject_dry_run(run, request, subject) for subject in SUBJECTS)
    nothing = SubjectDryRun()
    return tuple(
        OrganizationDryRun(key, jobs.get(key, nothing), steps.get(key, nothing))
        for key in sorted(jobs.keys() | steps.keys())
    )


@contextmanager
def _without_new_facts(settings: Settings) -> Iterator[Settings]:
    """Where there are no facts, look at an empty table elsewhere instead of making one in their place."""
    with tempfile.TemporaryDirectory(prefix="execmetrics-") as elsewhere:
        lacking = {
            name: f"{elsewhere}/{fact.table}"
            for name, fact in (("facts_url", JOBS.fact), ("step_facts_url", STEPS.fact))
            if opened(settings.location_of(fact.table), fact) is None
        }
        yield settings.model_copy(update=lacking)


def _subject_dry_run(run: Run, request: Request, subject: Subject) -> dict[UUID, SubjectDryRun]:
    location = run.settings.location_of(subject.fact.table)
    with (
        reading_facts(location, subject.fact),
        gather(run, request, subject, dry=True) as (extraction, spool),
    ):
        if extraction is None:
            return {}
        outlook = _Outlook.of(run, extraction, spool)
        calendar, plan = extraction.calendar, run.settings.plan_of(subject)
        with (
            DuckDBEngine(outlook.rows, calendar.calendar, plan, subject) as engine,
            proposing(run, subject, calendar) as writer,
        ):
            assert request.completed
            within = request.completed.by(calendar, outlook.followed)
            _propose(writer, engine, outlook, within)
            changes = writer.largest_changes()
    return _result(extraction, outlook, changes)


@dataclass(frozen=True)
class _Outlook:
    """The rows as they would be afterwards, and what would have to be computed of them.

    `changed` holds the rows of organizations that follow the changes, as they are and would be; cells of
    the `whole` organizations would all be computed, and the days, weeks and months of the `rezoned`.
    """

    rows: pl.LazyFrame
    changed: pl.DataFrame
    whole: frozenset[UUID]
    rezoned: frozenset[UUID]
    followed: frozenset[UUID]
    guarded: Mapping[UUID, ExecutionMetricsError]
    rows_changed: Mapping[UUID, int]

    @classmethod
    def of(cls, run: Run, extraction: Extraction, spool: Spool) -> "_Outlook":
        subject, facts, seen = extraction.subject, extraction.facts, extraction.seen
        rows, differing = _afterwards(extraction, spool)
        with run.analytics() as analytics:
            current = find_version(analytics, subject.definition(run.settings.plan_of(subject)))
            guarded = find_guarded(analytics, run.settings, extraction, rows)
        scope = set(extraction.organization_ids) - guarded.keys()
        followed = {key for key in scope & seen.keys() if seen[key].shows(facts) and seen[key].is_of(current)}
        place = ("organization_id", subject.fact.time, *subject.dimension_columns)
        changes = [differing.select(place)]
        followed -= follow(
            facts,
            subject,
            {key: seen[key] for key in followed},
            lambda unpublished: changes.append(unpublished.select(place)),
        )
        counted = differing.group_by("organization_id").agg(pl.col(subject.fact.key).n_unique())
        return cls(
            rows,
            pl.concat(changes).filter(of_organizations(followed)),
            frozenset(scope - followed),
            frozenset(key for key in followed if extraction.calendar.differs(key, seen[key])),
            frozenset(followed),
            guarded,
            dict(zip(uuids(counted["organization_id"]), counted[subject.fact.key], strict=True)),
        )


def _afterwards(extraction: Extraction, spool: Spool) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """The facts that would count afterwards, and those that would change, as they are and would be."""
    subject = extraction.subject
    key, columns = subject.fact.key, (subject.fact.key, "row_hash", *subject.fact_columns)
    before = extraction.facts.scan().select(columns)
    if not spool.rows:
        return before, before.clear().collect()
    read = spool.scan().unique(key)
    now = read.filter(pl.col(TOMBSTONE).is_null()).select(columns)
    met = before.join(read.select(key), on=key, how="semi").collect().lazy()
    same = met.join(now, on=[key, "row_hash"], how="semi").select(key)
    differing = pl.concat([met, now]).join(same, on=key, how="anti")
    rest = before.join(read.select(key), on=key, how="anti")
    return pl.concat([rest, now]), differing.collect()


def _propose(writer: Writer, engine: DuckDBEngine, outlook: _Outlook, within: LocalRange) -> None:
    """Stage whatever a reconcile would compute."""
    whole, rezoned, changed = outlook.whole, outlook.rezoned, outlook.changed.lazy()
    others, is_rezoned = sorted(outlook.followed - rezoned), of_organizations(rezoned)
    reached = [(ids, each) for instants, ids in within.groups(others) for each in reaching(*instants)]
    computed: list[AllCells | ChangedCells] = [
        AllCells(whole, Restated.BACKFILL),
        AllCells(rezoned, Restated.TIME_ZONE, LOCAL_PERIODS),
        ChangedCells(changed.filter(~is_rezoned), reason=Restated.BACKFILL),
        ChangedCells(changed.filter(is_rezoned), (Period.HOUR,), Restated.BACKFILL),
        *(AllCells(ids, Restated.DRIFT, each.periods, each.since, each.until) for ids, each in reached),
    ]
    for cells in chain.from_iterable(map(engine.cells, computed)):
        writer.stage(cells)
    writer.stage_leftovers(whole, Restated.BACKFILL)
    writer.stage_leftovers(rezoned, Restated.TIME_ZONE, periods=LOCAL_PERIODS)
    for ids, each in reached:
        writer.stage_leftovers(ids, Restated.DRIFT, periods=each.periods, between=each.bounds)


def _result(
    extraction: Extraction, outlook: _Outlook, changes: Sequence[CellChange]
) -> dict[UUID, SubjectDryRun]:
    found: dict[UUID, SubjectDryRun] = {}
    for change in changes:
        so_far = found.get(change.organization_id, SubjectDryRun(cells=change.cells))
        found[change.organization_id] = replace(so_far, largest=(*so_far.largest, change))
    failing = {key: type(why).__name__ for key, why in outlook.guarded.items()}
    return {
        key: replace(
            found.get(key, SubjectDryRun()),
            rows=outlook.rows_changed.get(key, 0),
            deletes_guarded=extraction.guarded.get(key, 0),
            would_fail=failing.get(key),
        )
        for key in found.keys() | failing.keys()
    }
