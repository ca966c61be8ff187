"""One pass from the source to the aggregates: gather, compute, apply."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import polars as pl
import psycopg

from pipelines.compute.aggregate import Aggregator
from pipelines.compute.dirty_cells import buckets, dirty_cells, period_start
from pipelines.compute.validate import anomalies, changes, with_verdict
from pipelines.errors import InvalidRange, UnknownOrganization
from pipelines.model.anomalies import HEAL_BY_THEMSELVES
from pipelines.model.metrics import KEY_COLUMNS
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import ROLLUP_PLAN
from pipelines.settings import Settings
from pipelines.storage.aggregates import Publication
from pipelines.storage.anomalies import find_listed, list_anomalies, unlist_anomalies
from pipelines.storage.cursors import Progress, find_progress, move
from pipelines.storage.database import Databases, connect
from pipelines.storage.facts import Absorbed, JobFacts, open_facts
from pipelines.storage.frames import id_series, uuids
from pipelines.storage.lock import refresh_lock
from pipelines.storage.migrations import require_schema
from pipelines.storage.names import copy_names
from pipelines.storage.source import Moment, Names, SourceSnapshot, Wanted, open_snapshot
from pipelines.storage.spool import Spool
from pipelines.storage.statements import statement

OnProgress = Callable[[str, int], None]

# How many jobs are aggregated at a time: this, not the backlog, decides how much memory a run takes.
CHUNK_JOBS = 250_000


@dataclass(frozen=True)
class RefreshReport:
    """What one pass did; `seconds` has the stages extract, facts, compute, publish, and the total."""

    run_id: UUID
    organizations: int
    jobs_read: int
    facts_inserted: int
    facts_updated: int
    facts_deleted: int
    facts_version: int
    cells_computed: int
    cells_written: int
    cells_deleted: int
    anomalies: int
    seconds: dict[str, float]


@dataclass
class _Stopwatch:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


@dataclass(frozen=True)
class _Range:
    since: datetime
    until: datetime


@dataclass(frozen=True)
class _Gathered:
    """Everything a pass needs of the source, read in one snapshot."""

    moment: Moment
    names: Names
    spool: Spool
    found: pl.DataFrame
    healed: pl.DataFrame
    organization_ids: list[UUID]


def refresh(
    databases: Databases,
    settings: Settings,
    *,
    organization_ids: Sequence[UUID] = (),
    publish: bool = True,
    on_progress: OnProgress | None = None,
) -> RefreshReport:
    """Bring facts and aggregates up to date with what changed in the source since the last pass.

    No `organization_ids` means all of them; `publish=False` stops after the facts.
    Raises `UnknownOrganization`, `SchemaMissing`, `SourceMissing`, `AnotherRunHoldsTheLock`.
    """
    return _pass(databases, settings, organization_ids, None, publish, on_progress)


def reconcile(
    databases: Databases,
    settings: Settings,
    *,
    since: datetime,
    until: datetime,
    organization_ids: Sequence[UUID] = (),
    publish: bool = True,
    on_progress: OnProgress | None = None,
) -> RefreshReport:
    """A refresh that also makes everything completed in [since, until) equal the source again.

    Jobs that completed in the range in the source or in the facts are read anew, so that rows deleted
    from the source leave the aggregates too. Raises as `refresh` does, and `InvalidRange`.
    """
    if since >= until:
        raise InvalidRange(f"({since.isoformat()} is not before {until.isoformat()})")
    return _pass(databases, settings, organization_ids, _Range(since, until), publish, on_progress)


def _pass(
    databases: Databases,
    settings: Settings,
    organization_ids: Sequence[UUID],
    again: _Range | None,
    publish: bool,
    on_progress: OnProgress | None,
) -> RefreshReport:
    require_schema(databases, settings)
    watch, tell = _Stopwatch(), on_progress or (lambda _stage, _rows: None)
    with (
        watch.stage("total"),
        refresh_lock(databases, settings),
        _spool_folder(settings) as folder,
        connect(databases.analytics_url, settings) as analytics,
    ):
        facts = open_facts(settings)
        seen = find_progress(analytics)
        listed = find_listed(analytics, organization_ids or None)
        analytics.commit()
        with watch.stage("extract"):
            gathered = _gather(
                databases, settings, facts, seen, listed, organization_ids, again, Spool(folder), tell
            )
        with watch.stage("facts"):
            absorbed = _absorb(facts, gathered.spool, tell)
        outcome = _Published()
        if publish:
            _publish(analytics, facts, gathered, seen, outcome, watch, tell)
    return RefreshReport(
        run_id=uuid4(),
        organizations=len(gathered.organization_ids),
        jobs_read=gathered.spool.rows,
        facts_inserted=absorbed.inserted,
        facts_updated=absorbed.updated,
        facts_deleted=absorbed.deleted,
        facts_version=facts.version,
        cells_computed=outcome.computed,
        cells_written=outcome.written,
        cells_deleted=outcome.deleted,
        anomalies=outcome.anomalies,
        seconds={stage: round(seconds, 3) for stage, seconds in watch.seconds.items()},
    )


# --- gather ---------------------------------------------------------------------------------------


def _gather(
    databases: Databases,
    settings: Settings,
    facts: JobFacts,
    seen: dict[UUID, Progress],
    listed: pl.DataFrame,
    organization_ids: Sequence[UUID],
    again: _Range | None,
    spool: Spool,
    tell: OnProgress,
) -> _Gathered:
    with open_snapshot(databases.source_url, settings) as source:
        everyone = source.names(Wanted({}, only_listed=True)).organizations
        known = set(uuids(everyone["id"])) | set(seen)
        unknown = [str(asked) for asked in organization_ids if asked not in known]
        if unknown:
            raise UnknownOrganization(", ".join(unknown))
        scope = sorted(organization_ids or known)
        wanted = Wanted(
            horizons={key: _horizon(seen.get(key), source.moment, facts) for key in scope},
            only_listed=bool(organization_ids),
            since=again.since if again else None,
            until=again.until if again else None,
            job_ids=_to_read_again(listed, all_of_them=again is not None),
        )
        names = source.names(wanted)
        reader = _Reader(source, settings, spool, listed, tell)
        reader.read(wanted)
        if again:
            reader.read_the_missing(facts, again, scope)
    organizations = sorted(set(scope) | (set() if organization_ids else reader.organizations))
    return _Gathered(source.moment, names, spool, reader.found(), reader.healed(), organizations)


def _horizon(progress: Progress | None, moment: Moment, facts: JobFacts) -> int | None:
    """Where to go on reading an organization; None, from the beginning, when the past is another source's."""
    if progress is None or progress.facts_table_id != facts.table_id:
        return None
    if progress.incarnation != moment.incarnation or progress.horizon > moment.horizon:
        return None
    return progress.horizon


def _to_read_again(listed: pl.DataFrame, *, all_of_them: bool) -> list[UUID]:
    if not all_of_them:
        listed = listed.filter(pl.col("reason").is_in([reason.value for reason in HEAL_BY_THEMSELVES]))
    return uuids(listed["job_id"].unique())


class _Reader:
    """Judges rows as they stream in, spools them for the facts, and keeps only the anomalies."""

    def __init__(
        self, source: SourceSnapshot, settings: Settings, spool: Spool, listed: pl.DataFrame, tell: OnProgress
    ) -> None:
        self._source, self._settings, self._spool, self._tell = source, settings, spool, tell
        self._listed = listed
        self._found: list[pl.DataFrame] = []
        self._read_again: list[pl.DataFrame] = []
        self._in_range: list[pl.DataFrame] = []
        self.organizations: set[UUID] = set()

    def read(self, wanted: Wanted) -> None:
        for jobs in self._source.jobs(wanted):
            judged = with_verdict(
                jobs,
                clock=self._source.moment.extracted_at,
                earliest=self._settings.earliest_completion_at,
                tolerance=self._settings.future_tolerance,
            )
            self._found.append(anomalies(judged))
            self._read_again.append(self._listed.join(judged.select("job_id"), on="job_id", how="semi"))
            self.organizations.update(uuids(judged["organization_id"].unique()))
            if wanted.since is not None:
                self._in_range.append(judged.select("job_id"))
            self._spool.add(changes(judged).filter(pl.col("created_date").is_not_null()))
            self._tell("extract", self._spool.rows)
        self._read_again.append(
            self._listed.filter(pl.col("job_id").is_in(id_series("job_id", wanted.job_ids).implode()))
        )

    def read_the_missing(self, facts: JobFacts, again: _Range, scope: Sequence[UUID]) -> None:
        """Read the jobs that the facts have in the range and the source does not, wherever they are now."""
        kept = (
            facts.scan()
            .filter(
                pl.col("completed_at").is_between(again.since, again.until, closed="left"),
                pl.col("organization_id").is_in(id_series("organization_id", scope).implode()),
            )
            .collect()
        )
        read = pl.concat([pl.DataFrame(schema={"job_id": pl.Binary()}), *self._in_range])
        missing = kept.join(read, on="job_id", how="anti")
        if missing.is_empty():
            return
        before = len(self._in_range)
        moved = Wanted(
            {}, only_listed=True, since=again.since, until=again.since, job_ids=uuids(missing["job_id"])
        )
        self.read(moved)
        found = pl.concat([pl.DataFrame(schema={"job_id": pl.Binary()}), *self._in_range[before:]])
        gone = missing.join(found, on="job_id", how="anti")
        self._spool.add(gone.with_columns(counts=pl.lit(False)).select(*gone.columns, "counts"))

    def found(self) -> pl.DataFrame:
        empty = {
            "job_id": pl.Binary(),
            "organization_id": pl.Binary(),
            "reason": pl.String(),
            "effect": pl.String(),
        }
        return pl.concat([pl.DataFrame(schema=empty), *self._found]).unique(["job_id", "reason"], keep="last")

    def healed(self) -> pl.DataFrame:
        read_again = pl.concat([self._listed.clear(), *self._read_again]).unique()
        return read_again.join(self.found(), on=["job_id", "reason"], how="anti")


def _absorb(facts: JobFacts, spool: Spool, tell: OnProgress) -> Absorbed:
    if facts.empty:
        return facts.fill(spool.chunks()) if spool.rows else Absorbed()
    absorbed = Absorbed()
    for chunk in spool.chunks():
        absorbed += facts.absorb(chunk)
        tell("facts", absorbed.inserted + absorbed.updated + absorbed.deleted)
    return absorbed


# --- compute and apply ----------------------------------------------------------------------------


@dataclass
class _Published:
    computed: int = 0
    written: int = 0
    deleted: int = 0
    anomalies: int = 0


def _publish(
    analytics: psycopg.Connection,
    facts: JobFacts,
    gathered: _Gathered,
    seen: dict[UUID, Progress],
    outcome: _Published,
    watch: _Stopwatch,
    tell: OnProgress,
) -> None:
    """Replace the cells that changed and everything that goes with them, in one transaction."""
    published = {key: progress for key, progress in seen.items() if progress.facts_version is not None}
    scope = set(gathered.organization_ids)
    first = sorted(scope - set(published))
    whole = sorted(key for key in scope & set(published) if published[key].facts_table_id != facts.table_id)
    current = {key: published[key] for key in sorted(scope & set(published) - set(whole))}
    with watch.stage("compute"):
        dirty = _dirty(facts, current)
    with watch.stage("publish"):
        publication = Publication(analytics, gathered.moment.extracted_at)
    with Aggregator(statement("compute/cells.sql")) as aggregator:
        for period in ROLLUP_PLAN:
            for keys, write in ((first, publication.add_first), (whole, publication.stage)):
                for cells in _cells_of(aggregator, facts, period, _all_buckets(facts, keys, period), watch):
                    outcome.computed += cells.height
                    with watch.stage("publish"):
                        write(cells)
                    tell("publish", outcome.computed)
            wanted = dirty.filter(pl.col("period") == period.value)
            left = wanted
            for cells in _cells_of(aggregator, facts, period, buckets(dirty, period), watch):
                cells = cells.join(wanted, on=KEY_COLUMNS, how="semi")
                left = left.join(cells, on=KEY_COLUMNS, how="anti")
                outcome.computed += cells.height
                with watch.stage("publish"):
                    publication.stage(cells)
                tell("publish", outcome.computed)
            with watch.stage("publish"):
                publication.stage_emptied(left)
    with watch.stage("publish"):
        publication.replace(whole)
        copy_names(analytics, gathered.names)
        unlist_anomalies(analytics, gathered.healed)
        list_anomalies(analytics, gathered.found, gathered.moment.extracted_at)
        move(analytics, gathered.organization_ids, seen=seen, moment=gathered.moment, facts=facts)
        analytics.commit()
    outcome.written, outcome.deleted = publication.written, publication.deleted
    outcome.anomalies = gathered.found.height


def _dirty(facts: JobFacts, current: dict[UUID, Progress]) -> pl.DataFrame:
    """The cells that jobs left or entered since each organization was published."""
    versions = pl.DataFrame(
        {
            "organization_id": id_series("organization_id", current),
            "seen": pl.Series([progress.facts_version for progress in current.values()], dtype=pl.Int64),
        }
    )
    oldest = versions["seen"].min()
    images = facts.images_since(int(oldest) if isinstance(oldest, int) else facts.version)
    recent = images.join(versions, on="organization_id").filter(pl.col("_commit_version") > pl.col("seen"))
    return dirty_cells(recent, ROLLUP_PLAN)


def _all_buckets(facts: JobFacts, organization_ids: Sequence[UUID], period: Period) -> pl.DataFrame:
    if not organization_ids:
        return pl.DataFrame(schema={"organization_id": pl.Binary(), "period_start": pl.Datetime("us", "UTC")})
    mine = pl.col("organization_id").is_in(id_series("organization_id", organization_ids).implode())
    return facts.scan().filter(mine).select("organization_id", period_start(period)).unique().collect()


def _cells_of(
    aggregator: Aggregator, facts: JobFacts, period: Period, wanted: pl.DataFrame, watch: _Stopwatch
) -> Iterator[pl.DataFrame]:
    """Yield the cells of whole buckets, in the order of organization and time, some jobs at a time."""
    if wanted.is_empty():
        return
    with watch.stage("compute"):
        parts = _parts(facts, period, wanted)
    for part in parts:
        with watch.stage("compute"):
            jobs = _jobs_in(facts, period, part).collect()
            cells = aggregator.cells(jobs, period, ROLLUP_PLAN[period])
        yield cells


def _parts(facts: JobFacts, period: Period, wanted: pl.DataFrame) -> list[pl.DataFrame]:
    """Cut the buckets into parts of at most CHUNK_JOBS jobs; a bucket is never cut."""
    sizes = (
        _jobs_in(facts, period, wanted)
        .group_by("organization_id", period_start(period))
        .len("jobs")
        .sort("organization_id", "period_start")
        .collect()
    )
    part = ((pl.col("jobs").cum_sum() - 1) // CHUNK_JOBS).alias("part")
    return sizes.with_columns(part).partition_by("part", maintain_order=True, include_key=False)


def _jobs_in(facts: JobFacts, period: Period, wanted: pl.DataFrame) -> pl.LazyFrame:
    first, last = wanted["period_start"].min(), wanted["period_start"].max()
    # A month is the longest bucket; the exact ones are told apart by the join.
    reach = pl.lit(last).dt.offset_by("1mo")
    ids = wanted["organization_id"].unique()
    return (
        facts.scan()
        .filter(
            pl.col("completed_at") >= first,
            pl.col("completed_at") < reach,
            pl.col("organization_id").is_in(ids.implode()),
        )
        .with_columns(period_start(period))
        .join(wanted.lazy(), on=["organization_id", "period_start"], how="semi")
    )


@contextmanager
def _spool_folder(settings: Settings) -> Iterator[Path]:
    settings.home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="extract-", dir=settings.home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
