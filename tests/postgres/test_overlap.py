"""Runs that meet: they wait for each other, and one that lost its place overwrites nothing newer."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import polars as pl
import psycopg
import pytest
from deltalake import DeltaTable
from psycopg import Connection

from pipelines.errors import FactsConflict, PublishConflict
from pipelines.extract.request import CompletedIn, Request
from pipelines.facts.fact_table import open_facts
from pipelines.fault_points import FaultPoint, watched_by
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.audit import audit
from pipelines.runs.maintenance import tidy_facts
from pipelines.runs.refresh import extract_changes, publish_changes, rebuild, reconcile, refresh
from pipelines.runs.verify import Difference, verify
from pipelines.settings import Settings, load_settings
from pipelines.state.watermarks import Advance, Watermark, advance, find_watermarks
from pipelines.subjects.jobs import JOBS
from tests.support.concurrent_writers import run_writers
from tests.support.oracle import cells_by_sql, differences
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, NOON, Tenant, cells, plant_jobs, plant_tenant
from tests.support.sampling import EVERYTHING

SECONDS, SEED = 5.0 if EVERYTHING else 2.0, 20241125

PROGRAM = Path(sys.executable).with_name("execmetrics")

# By which cells were computed before.
OTHER_PLAN = load_settings(rollup_plan="hour=0 day=1 week=1 month=3").rollup_plan

LOCKED = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
LOCKED += " (SELECT oid FROM pg_database WHERE datname = current_database())"

UseCase = Callable[[Run], object]


@pytest.fixture
def apart(databases: Databases, create_database: Callable[[], str]) -> Databases:
    """Aggregates in a database of their own, so that its deadlocks are ours."""
    return Databases(create_database(), databases.source_url)


def test_everything_at_once(apart: Databases, pipeline: Pipeline) -> None:
    """Whatever there is to run, by threads and processes, while a source is written: all succeed."""
    tenants = [pipeline.plant_tenant(f"Tenant {number}") for number in range(3)]
    for tenant in tenants:
        pipeline.plant_job(tenant, completed_at=datetime.now(UTC) - DAY)
    refresh(Run(apart, pipeline.settings.model_copy(update={"rollup_plan": OTHER_PLAN})))
    end = datetime.now(UTC) + DAY
    found_wrong: list[Difference] = []
    crowd: list[Callable[[], object]] = [
        lambda: refresh(Run(apart, pipeline.settings)),
        lambda: backfill(apart, pipeline.settings, NOON, end),
        lambda: reconcile(Run(apart, pipeline.settings), since=end - 9 * DAY, until=end),
        lambda: rebuild(Run(apart, pipeline.settings)),
        lambda: tidy_facts(Run(apart, pipeline.settings)),
        lambda: found_wrong.extend(audit(Run(apart, pipeline.settings)).found),
        lambda: command(apart, pipeline.settings, "refresh"),
        lambda: command(
            apart, pipeline.settings, "reconcile", f"--since={NOON:%Y-%m-%d}", f"--until={end:%Y-%m-%d}"
        ),
    ]
    until = time.monotonic() + SECONDS

    def again_and_again(run: Callable[[], object]) -> int:
        runs = 0
        while time.monotonic() < until or not runs:
            run()
            runs += 1
        return runs

    with ThreadPoolExecutor(len(crowd) + 1) as pool:
        writing = pool.submit(run_writers, apart.source_url, tenants, SECONDS, SEED)
        running = [pool.submit(again_and_again, run) for run in crowd]
        runs = [each.result(timeout=120) for each in running]
        writing.result()

    assert min(runs) >= 1
    assert found_wrong == []
    assert refresh(Run(apart, pipeline.settings)).failed == ()
    with psycopg.connect(apart.analytics_url) as analytics:
        assert differences(cells(analytics), cells_by_sql(pipeline.source)) == []
        assert deadlocks(analytics) == 0
    assert jobs_that_count_twice(pipeline.settings) == 0
    assert verify(Run(apart, pipeline.settings)).differences == ()


@pytest.mark.parametrize(
    "point",
    [
        *(FaultPoint.SNAPSHOT_CLOSED, FaultPoint.FACTS_ABSORBED, FaultPoint.FEED_READ),
        *(FaultPoint.CHUNK_WRITTEN, FaultPoint.RESTATEMENTS_KEPT),
    ],
)
def test_a_run_that_lost_its_lock_overwrites_nothing_newer(point: FaultPoint, pipeline: Pipeline) -> None:
    """Another run took over meanwhile, so it gives up, and leaves what that one published as it is."""
    tenant, job = plant_two_tenants(pipeline.source)
    pipeline.refresh()
    pipeline.change_job(job, status="FAILED")
    pipeline.plant_job(tenant, completed_at=NOON + HOUR)

    with overtaken(refresh, pipeline, point, FactsConflict, PublishConflict):
        pipeline.change_job(job, status="COMPLETED", completed_at=NOON + 9 * DAY)
        pipeline.refresh()

    pipeline.refresh()
    assert pipeline.differences() == []
    assert pipeline.refresh().cells_written == 0


def test_a_run_that_lost_its_lock_counts_no_job_twice(pipeline: Pipeline) -> None:
    """Jobs that are new to both runs are only appended, which Delta Lake alone would let both of them do."""
    tenant, _ = plant_two_tenants(pipeline.source)
    pipeline.refresh()
    pipeline.plant_job(tenant)

    with overtaken(refresh, pipeline, FaultPoint.BEFORE_FACTS_COMMIT, FactsConflict):
        pipeline.refresh()

    assert jobs_that_count_twice(pipeline.settings) == 0
    assert pipeline.refresh().cells_written == 0
    assert pipeline.differences() == []


@pytest.mark.every_postgres
def test_a_run_that_comes_second_by_a_hair_is_refused(pipeline: Pipeline) -> None:
    """It already waits for rows that the newer run is about to commit."""
    tenant, _ = plant_two_tenants(pipeline.source)
    pipeline.refresh()

    with paused(refresh, pipeline, FaultPoint.CELLS_STAGED) as older:
        older.lose_lock(pipeline.analytics)
        pipeline.plant_job(tenant)
        with paused(refresh, pipeline, FaultPoint.BEFORE_COMMIT) as newer:
            older.goes_on()
            wait_until_somebody_waits(pipeline.analytics)
            newer.goes_on()
            newer.result()
        published = everything(pipeline.analytics)
        with pytest.raises(PublishConflict):
            older.result()

    assert everything(pipeline.analytics) == published
    pipeline.refresh()
    assert pipeline.differences() == []


@pytest.mark.every_postgres
@pytest.mark.parametrize("published", [False, True])
def test_of_two_publications_under_way_one_is_refused(published: bool, pipeline: Pipeline) -> None:
    """Each found the same state before it began; the one that waits for the other is told so."""
    facts, organization = open_facts(pipeline.settings), UUID(int=5)

    def publish(connection: Connection) -> None:
        coming = [Advance(organization, NOON, 1, time_zone="UTC", zone_offsets="", swept=True)]
        told = {"seen": seen, "extracted_at": NOON, "facts": facts, "current_definition": 1}
        advance(connection, JOBS, coming, run_id=uuid4(), checkpoint="{}", **told)

    seen: dict[UUID, Watermark] = {}
    if published:
        publish(pipeline.analytics)
        seen = find_watermarks(pipeline.analytics, JOBS)
    with (
        psycopg.connect(pipeline.databases.analytics_url) as first,
        psycopg.connect(pipeline.databases.analytics_url) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        publish(first)
        late = pool.submit(publish, second)
        wait_until_somebody_waits(pipeline.analytics)
        first.commit()
        with pytest.raises(PublishConflict):
            late.result(timeout=60)


def test_two_first_runs_at_once_publish_nobody_twice(pipeline: Pipeline) -> None:
    """Cells of organizations that have none yet are copied without looking; a second copy is refused."""
    plant_two_tenants(pipeline.source)

    with overtaken(refresh, pipeline, FaultPoint.FEED_READ, PublishConflict):
        pipeline.refresh()

    assert pipeline.refresh().cells_written == 0
    assert pipeline.differences() == []


def test_a_rebuild_that_lost_its_lock_overwrites_nothing_newer(pipeline: Pipeline) -> None:
    """It computes from facts that are no longer the newest, and notices before it commits."""
    tenant, job = plant_two_tenants(pipeline.source)
    pipeline.having(rollup_plan=OTHER_PLAN).refresh()

    with overtaken(rebuild, pipeline, FaultPoint.CHUNK_WRITTEN, PublishConflict):
        pipeline.change_job(job, status="FAILED")
        pipeline.plant_job(tenant)
        pipeline.refresh()

    assert pipeline.differences() == []


def test_an_audit_that_lost_its_lock_overwrites_nothing_newer(pipeline: Pipeline) -> None:
    """What it repairs is by facts that another run has replaced meanwhile."""
    _, job = plant_two_tenants(pipeline.source)
    pipeline.refresh()
    pipeline.analytics.execute(
        "UPDATE analytics.aggregate_metrics SET average_duration_ms = 1 WHERE period = 'month'"
    )

    with overtaken(audit, pipeline, FaultPoint.CELLS_STAGED, PublishConflict):
        pipeline.change_job(job, status="FAILED")
        pipeline.refresh()

    pipeline.audit()
    assert pipeline.differences() == []


@dataclass
class Paused:
    """A run in a thread of its own that stands still at a point until it is let go."""

    use_case: UseCase
    run: Run
    point: FaultPoint
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    raised: BaseException | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        def watch(passed: FaultPoint) -> None:
            if passed is self.point and threading.current_thread() is self._thread:
                self.reached.set()
                assert self.released.wait(timeout=60)

        with watched_by(watch):
            try:
                self.use_case(self.run)
            except BaseException as failure:
                self.raised = failure
        self.reached.set()

    def lose_lock(self, analytics: Connection) -> None:
        """End the session that holds the lock."""
        (pid,) = analytics.execute(LOCKED).fetchone()
        analytics.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])

    def goes_on(self) -> None:
        """Let it go."""
        self.released.set()

    def result(self) -> None:
        """Wait for its end, and raise what it raised."""
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()
        if self.raised:
            raise self.raised


@contextmanager
def paused(run: UseCase, pipeline: Pipeline, point: FaultPoint) -> Iterator[Paused]:
    """Start a run, and yield it when it stands still at a point."""
    started = Paused(run, pipeline.run, point)
    assert started.reached.wait(timeout=60)
    assert started.raised is None
    try:
        yield started
    finally:
        started.goes_on()


@contextmanager
def overtaken(
    run: UseCase, pipeline: Pipeline, point: FaultPoint, *refused: type[Exception]
) -> Iterator[None]:
    """Start a run, and take its lock away at a point, so that the body overtakes it.

    The run is refused afterwards, and leaves what the body published as it is.
    """
    with paused(run, pipeline, point) as slow:
        slow.lose_lock(pipeline.analytics)
        yield
        newer = everything(pipeline.analytics)
        slow.goes_on()
        with pytest.raises(refused):
            slow.result()
    assert everything(pipeline.analytics) == newer


def backfill(databases: Databases, settings: Settings, since: datetime, until: datetime) -> None:
    """Extract and publish in two steps, as two assets do; where another run was faster, do it again."""
    extraction = extract_changes(Run(databases, settings), Request(completed=CompletedIn(since, until)))
    time.sleep(0.05)
    try:
        publish_changes(Run(databases, settings), extraction)
    except PublishConflict:
        reconcile(Run(databases, settings), since=since, until=until)


def command(databases: Databases, settings: Settings, *arguments: str) -> None:
    """UseCase the installed program to its end, which is a good one."""
    environment = os.environ | {
        "EXECMETRICS_DATABASE_URL": databases.analytics_url,
        "EXECMETRICS_SOURCE_URL": databases.source_url,
        "EXECMETRICS_HOME": str(settings.home),
    }
    done = subprocess.run(
        [PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def plant_two_tenants(source: Connection) -> tuple[Tenant, object]:
    """Insert two organizations with some jobs; return one of them, and one of its jobs."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_jobs(source, neighbour, [{"completed_at": NOON + day * DAY} for day in range(3)])
    job, *_ = plant_jobs(source, tenant, [{"completed_at": NOON + day * DAY} for day in range(3)])
    return tenant, job


def everything(analytics: Connection) -> object:
    """Every cell, and who has been published how."""
    return cells(analytics), find_watermarks(analytics, JOBS)


def wait_until_somebody_waits(analytics: Connection) -> None:
    """Return when a session waits for another one's transaction to end."""
    deadline = time.monotonic() + 30
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
    while analytics.execute(waiting).fetchone() == (0,):
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


def deadlocks(analytics: Connection) -> int:
    """How many deadlocks the database has counted."""
    return analytics.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()[0]


def jobs_that_count_twice(settings: Settings) -> int:
    """How many rows of the facts are of a job that has another one that counts."""
    rows = pl.scan_delta(DeltaTable(settings.facts_location)).filter(pl.col("gone").is_null())
    return rows.filter(pl.col("job_id").is_duplicated()).collect().height
