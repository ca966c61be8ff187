"""What a reconcile would change, found out without writing anything."""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.compute.aggregate import Aggregator
from pipelines.compute.subjects import JOBS
from pipelines.errors import ExecutionMetricsError, FeedLost
from pipelines.extract import Extraction, Request, gathered
from pipelines.model.definition import definition
from pipelines.model.metrics import DIMENSIONS
from pipelines.model.moments import DayOrTime
from pipelines.model.periods import Period
from pipelines.model.restatements import Restated
from pipelines.publish import not_believed, unpublished_images
from pipelines.rebuild import find_stale
from pipelines.recompute import Cells, Desk
from pipelines.refresh import completed_in
from pipelines.repair import reaching
from pipelines.settings import Settings
from pipelines.stages import OnProgress, Stages
from pipelines.storage.database import Databases, connect, connections_reused
from pipelines.storage.definitions import find_version
from pipelines.storage.facts import Facts
from pipelines.storage.facts_health import reading_facts
from pipelines.storage.facts_table import opened
from pipelines.storage.frames import id_series, uuids
from pipelines.storage.local_ranges import LocalRange
from pipelines.storage.lock import refresh_lock
from pipelines.storage.proposals import CellChange, Proposal, proposal
from pipelines.storage.schema_checks import require_schema
from pipelines.storage.spool import Spool
from pipelines.storage.statements import statement

_LOCAL_PERIODS: Final = (Period.DAY, Period.WEEK, Period.MONTH)

# What says of which cells a job is.
_PLACE: Final = ("organization_id", "completed_at", *DIMENSIONS)


@dataclass(frozen=True)
class OrganizationPreview:
    """What would change for one organization; `largest` are the cells that would change most.

    `jobs` are those whose facts would change. `would_fail` is the class of what would keep everything as it
    is; `deletes_withheld` counts jobs that are gone from the source, too many to believe it.
    """

    organization_id: UUID
    jobs: int
    cells: int
    deletes_withheld: int
    would_fail: str | None
    largest: tuple[CellChange, ...]


@connections_reused()
def preview(
    databases: Databases,
    settings: Settings,
    *,
    since: DayOrTime,
    until: DayOrTime,
    organization_ids: Sequence[UUID] = (),
    accept_deletes: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[OrganizationPreview, ...]:
    """What `reconcile` with the same arguments would change; raises as it does.

    Organizations for which nothing would change are left out.
    """
    require_schema(databases, settings)
    completed = completed_in(since, until)
    request = Request(tuple(organization_ids), completed=completed, accept_deletes=accept_deletes)
    stages = Stages(on_progress)
    with (
        refresh_lock(databases, settings),
        _without_new_facts(settings) as there,
        gathered(databases, there, request, stages, dry=True) as (extraction, facts, spool),
        reading_facts(there.facts_location),
        Aggregator(statement("compute/cells.sql")) as aggregator,
    ):
        outlook = _Outlook.of(databases, there, extraction, facts, spool)
        desk = Desk(outlook.jobs, extraction.calendar.calendar, settings.rollup_plan, aggregator)
        with proposal(databases, settings) as proposed:
            _propose(proposed, desk, outlook, completed.by(extraction.calendar, outlook.followed))
            changes = proposed.largest_changes()
    return _told(extraction, outlook, changes)


@contextmanager
def _without_new_facts(settings: Settings) -> Iterator[Settings]:
    """Where there are no facts, look at an empty table elsewhere instead of making one in their place."""
    if opened(settings.facts_location) is not None:
        yield settings
        return
    with tempfile.TemporaryDirectory(prefix="execmetrics-") as elsewhere:
        yield settings.model_copy(update={"facts_url": elsewhere})


@dataclass(frozen=True)
class _Outlook:
    """The jobs as they would be afterwards, and what would have to be computed of them.

    `changed` holds the jobs of those who follow the changes, as they are and would be; cells of the `whole`
    organizations would all be computed, and the days, weeks and months of the `rezoned`.
    """

    jobs: pl.LazyFrame
    changed: pl.DataFrame
    whole: frozenset[UUID]
    rezoned: frozenset[UUID]
    followed: frozenset[UUID]
    withheld: dict[UUID, ExecutionMetricsError]
    jobs_changed: dict[UUID, int]

    @classmethod
    def of(
        cls,
        databases: Databases,
        settings: Settings,
        extraction: Extraction,
        facts: Facts,
        spool: Spool,
    ) -> "_Outlook":
        seen = extraction.seen
        jobs, differing = _afterwards(facts, spool)
        with connect(databases.analytics_url, settings) as analytics:
            current = find_version(analytics, definition(settings.rollup_plan))
            withheld = not_believed(analytics, settings, extraction, facts, jobs)
        scope = set(extraction.organization_ids) - withheld.keys()
        followed = {key for key in scope & seen.keys() if seen[key].shows(facts)} - find_stale(seen, current)
        images = [differing.select(*_PLACE)]
        try:
            for unpublished in unpublished_images(facts, {key: seen[key] for key in followed}):
                images.append(unpublished.select(*_PLACE))
        except FeedLost:
            followed = set()
        counted = differing.group_by("organization_id").agg(pl.col("job_id").n_unique())
        return cls(
            jobs,
            pl.concat(images).filter(_of(followed)),
            frozenset(scope - followed),
            frozenset(key for key in followed if extraction.calendar.differs(key, seen[key])),
            frozenset(followed),
            withheld,
            dict(zip(uuids(counted["organization_id"]), counted["job_id"], strict=True)),
        )


def _afterwards(facts: Facts, spool: Spool) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """The jobs that would count afterwards, and those whose facts would change, as they are and would be."""
    columns = ("job_id", "row_hash", *JOBS.measured_columns)
    before = facts.scan().select(columns)
    if not spool.rows:
        return before, before.clear().select("job_id", *_PLACE).collect()
    read = spool.scan().unique("job_id")
    now = read.filter(pl.col("gone").is_null()).select(columns)
    met = before.join(read.select("job_id"), on="job_id", how="semi").collect().lazy()
    same = met.join(now, on=["job_id", "row_hash"], how="semi").select("job_id")
    differing = pl.concat([met, now]).join(same, on="job_id", how="anti")
    rest = before.join(read.select("job_id"), on="job_id", how="anti")
    return pl.concat([rest, now]), differing.select("job_id", *_PLACE).collect()


def _propose(proposed: Proposal, desk: Desk, outlook: _Outlook, within: LocalRange) -> None:
    """Stage whatever a reconcile would compute."""
    whole, rezoned, changed = outlook.whole, outlook.rezoned, outlook.changed.lazy()
    others = outlook.followed - rezoned

    def stage(cells: Cells) -> None:
        for some in cells:
            proposed.stage(some)

    stage(desk.all_cells(whole, Restated.BACKFILL))
    stage(desk.all_cells(rezoned, Restated.TIME_ZONE, periods=_LOCAL_PERIODS))
    stage(desk.changed_cells(changed.filter(~_of(rezoned)), reason=Restated.BACKFILL))
    hours = changed.filter(_of(rezoned))
    stage(desk.changed_cells(hours, periods=(Period.HOUR,), reason=Restated.BACKFILL))
    reached = [(ids, each) for instants, ids in within.groups(sorted(others)) for each in reaching(*instants)]
    for ids, each in reached:
        between = (each.since, each.until)
        stage(desk.all_cells(ids, Restated.DRIFT, periods=each.periods, between=between))
    proposed.stage_leftovers(whole, Restated.BACKFILL)
    proposed.stage_leftovers(rezoned, Restated.TIME_ZONE, periods=_LOCAL_PERIODS)
    for ids, each in reached:
        proposed.stage_leftovers(ids, Restated.DRIFT, periods=each.periods, between=each.bounds)


def _told(
    extraction: Extraction, outlook: _Outlook, changes: Sequence[CellChange]
) -> tuple[OrganizationPreview, ...]:
    largest: dict[UUID, list[CellChange]] = {}
    for change in changes:
        largest.setdefault(change.organization_id, []).append(change)
    failing = {key: type(why).__name__ for key, why in outlook.withheld.items()}
    return tuple(
        OrganizationPreview(
            organization_id=key,
            jobs=outlook.jobs_changed.get(key, 0),
            cells=largest[key][0].cells if key in largest else 0,
            deletes_withheld=extraction.withheld.get(key, 0),
            would_fail=failing.get(key),
            largest=tuple(largest.get(key, ())),
        )
        for key in sorted(largest.keys() | failing.keys())
    )


def _of(organization_ids: Collection[UUID]) -> pl.Expr:
    return pl.col("organization_id").is_in(id_series("organization_id", organization_ids).implode())
