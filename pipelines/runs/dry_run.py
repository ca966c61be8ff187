"""What a reconcile would change, found out without writing anything."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.calendars.local_ranges import LocalRange
from pipelines.calendars.moments import DayOrTime
from pipelines.compute.aggregate import Aggregator
from pipelines.compute.engine import Cells, Desk
from pipelines.errors import ExecutionMetricsError
from pipelines.extract.extractor import Extraction, Request, gathered
from pipelines.extract.steps import gathered_steps
from pipelines.facts.delta import JOB_FACTS, STEP_FACTS, Kind, location_of, opened
from pipelines.facts.fact_table import Facts
from pipelines.facts.health import reading_facts
from pipelines.facts.spool import Spool
from pipelines.frames import id_series, uuids
from pipelines.postgres.connections import Databases, connect, connections_reused
from pipelines.postgres.schema_checks import require_schema
from pipelines.postgres.statements import statement
from pipelines.progress import OnProgress, Stages
from pipelines.publish.proposals import CellChange, Proposal, proposal
from pipelines.publish.publisher import follow, not_believed, unpublished_images
from pipelines.publish.rebuild import find_stale
from pipelines.publish.repair import reaching
from pipelines.runs.refresh import completed_in
from pipelines.settings import Settings
from pipelines.state.definitions import find_version
from pipelines.state.lock import refresh_lock
from pipelines.subjects.definition import definition
from pipelines.subjects.measures import DIMENSIONS
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import Restated
from pipelines.subjects.subject import JOBS, STEPS, Subject

_LOCAL_PERIODS: Final = (Period.DAY, Period.WEEK, Period.MONTH)

# What says of which cells a job is.
_PLACE: Final = ("organization_id", "completed_at", *DIMENSIONS)


@dataclass(frozen=True)
class OrganizationPreview:
    """What would change for one organization; `largest` are the cells that would change most.

    `jobs` and `steps` are those whose facts would change; of steps no cells are told. `would_fail` is the
    class of what would keep all of the jobs as it is; `deletes_withheld` counts jobs that are gone from the
    source, too many to believe it, and `step_deletes_withheld` steps.
    """

    organization_id: UUID
    jobs: int
    cells: int
    steps: int
    deletes_withheld: int
    step_deletes_withheld: int
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
        Aggregator(statement("compute/cells")) as aggregator,
    ):
        outlook = _Outlook.of(databases, there, extraction, facts, spool)
        desk = Desk(outlook.jobs, extraction.calendar.calendar, settings.rollup_plan, aggregator)
        with proposal(databases, settings) as proposed:
            _propose(proposed, desk, outlook, completed.by(extraction.calendar, outlook.followed))
            changes = proposed.largest_changes()
        steps = _StepOutlook.of(databases, there, request, stages)
    return _told(extraction, outlook, changes, steps)


@contextmanager
def _without_new_facts(settings: Settings) -> Iterator[Settings]:
    """Where there are no facts, look at an empty table elsewhere instead of making one in their place."""
    with tempfile.TemporaryDirectory(prefix="execmetrics-") as elsewhere:
        lacking = {
            name: f"{elsewhere}/{kind.name}"
            for name, kind in (("facts_url", JOB_FACTS), ("step_facts_url", STEP_FACTS))
            if opened(location_of(settings, kind), kind) is None
        }
        yield settings.model_copy(update=lacking)


@dataclass(frozen=True)
class _StepOutlook:
    """Of how many steps the facts would change, and how many are gone, too many to believe the source."""

    changed: Mapping[UUID, int]
    withheld: Mapping[UUID, int]

    @classmethod
    def of(cls, databases: Databases, settings: Settings, request: Request, stages: Stages) -> "_StepOutlook":
        with (
            reading_facts(settings.step_facts_location, STEP_FACTS),
            gathered_steps(databases, settings, request, stages, dry=True) as (extraction, spool),
        ):
            if extraction is None:
                return cls({}, {})
            _, differing = _afterwards(extraction.facts, spool, STEP_FACTS, STEPS)
            return cls(_counted(differing, STEP_FACTS), extraction.withheld)


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
        jobs, differing = _afterwards(facts, spool, JOB_FACTS, JOBS)
        with connect(databases.analytics_url, settings) as analytics:
            current = find_version(analytics, definition(settings.rollup_plan))
            withheld = not_believed(analytics, settings, extraction, facts, jobs)
        scope = set(extraction.organization_ids) - withheld.keys()
        followed = {key for key in scope & seen.keys() if seen[key].shows(facts)} - find_stale(seen, current)
        images = [differing.select(*_PLACE)]
        followed -= follow(
            lambda those: unpublished_images(facts, those),
            {key: seen[key] for key in followed},
            lambda unpublished: images.append(unpublished.select(*_PLACE)),
        )
        return cls(
            jobs,
            pl.concat(images).filter(_of(followed)),
            frozenset(scope - followed),
            frozenset(key for key in followed if extraction.calendar.differs(key, seen[key])),
            frozenset(followed),
            withheld,
            _counted(differing, JOB_FACTS),
        )


def _afterwards(
    facts: Facts, spool: Spool, kind: Kind, subject: Subject
) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """The facts that would count afterwards, and those that would change, as they are and would be."""
    key, columns = kind.key, (kind.key, "row_hash", *subject.measured_columns)
    before = facts.scan().select(columns)
    if not spool.rows:
        return before, before.clear().collect()
    read = spool.scan().unique(key)
    now = read.filter(pl.col("gone").is_null()).select(columns)
    met = before.join(read.select(key), on=key, how="semi").collect().lazy()
    same = met.join(now, on=[key, "row_hash"], how="semi").select(key)
    differing = pl.concat([met, now]).join(same, on=key, how="anti")
    rest = before.join(read.select(key), on=key, how="anti")
    return pl.concat([rest, now]), differing.collect()


def _counted(differing: pl.DataFrame, kind: Kind) -> dict[UUID, int]:
    counted = differing.group_by("organization_id").agg(pl.col(kind.key).n_unique())
    return dict(zip(uuids(counted["organization_id"]), counted[kind.key], strict=True))


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
    extraction: Extraction, outlook: _Outlook, changes: Sequence[CellChange], steps: _StepOutlook
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
            steps=steps.changed.get(key, 0),
            deletes_withheld=extraction.withheld.get(key, 0),
            step_deletes_withheld=steps.withheld.get(key, 0),
            would_fail=failing.get(key),
            largest=tuple(largest.get(key, ())),
        )
        for key in sorted(largest.keys() | failing.keys() | steps.changed.keys() | steps.withheld.keys())
    )


def _of(organization_ids: Collection[UUID]) -> pl.Expr:
    return pl.col("organization_id").is_in(id_series("organization_id", organization_ids).implode())
