"""One run at a time: a second one waits, and says so when it has waited long enough."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import Connection

from pipelines.errors import AnotherRunHoldsTheLock
from pipelines.runs.refresh import refresh
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, NOON

pytestmark = pytest.mark.every_postgres

# What every run takes, spelt out: another program may have to hold it, too.
TAKE = "SELECT pg_advisory_lock(hashtextextended('execution-metrics refresh', 0))"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def test_a_run_waits_for_the_other_one(pipeline: Pipeline) -> None:
    """A refresh that finds the lock taken starts when it is free, and reads what was committed meanwhile."""
    tenant = pipeline.plant_tenant()
    pipeline.plant_job(tenant)
    with ThreadPoolExecutor(1) as other, psycopg.connect(pipeline.databases.analytics_url) as holder:
        holder.execute(TAKE)
        run = other.submit(refresh, pipeline.run)
        wait_until_somebody_waits(pipeline.analytics)
        pipeline.plant_job(tenant, completed_at=NOON + DAY)
        before = pipeline.cells()
        holder.close()
        report = run.result(timeout=60)

    assert before == {}
    assert report.rows_read == 2
    assert pipeline.differences() == []


def test_a_run_that_waited_in_vain_says_so(pipeline: Pipeline) -> None:
    """After EXECMETRICS_LOCK_TIMEOUT it gives up with a plain sentence and has done nothing."""
    pipeline.plant_job(pipeline.plant_tenant())
    hasty = pipeline.having(lock_timeout=timedelta(milliseconds=150))
    with psycopg.connect(pipeline.databases.analytics_url) as holder:
        holder.execute(TAKE)

        with pytest.raises(AnotherRunHoldsTheLock, match="Another run is still at work"):
            hasty.refresh()
        with pytest.raises(AnotherRunHoldsTheLock, match="EXECMETRICS_LOCK_TIMEOUT"):
            hasty.reconcile(since=NOON, until=NOON + DAY)

    assert pipeline.cells() == {}
    assert hasty.refresh().cells_written == 27


def test_two_runs_at_once_give_the_right_table(pipeline: Pipeline) -> None:
    """Started together they follow each other: one does the work and the other finds nothing left."""
    pipeline.plant_job(pipeline.plant_tenant())
    pipeline.plant_job(pipeline.plant_tenant("Neighbour"))

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(refresh, pipeline.run) for _ in range(2)]
        written = sorted(run.result(timeout=60).cells_written for run in runs)

    assert written == [0, 54]
    assert pipeline.differences() == []


def test_the_lock_of_one_database_is_not_that_of_another(pipeline: Pipeline, server: str) -> None:
    """Two products on one server do not wait for each other."""
    pipeline.plant_job(pipeline.plant_tenant())
    hasty = pipeline.having(lock_timeout=timedelta(milliseconds=150))
    with psycopg.connect(server) as holder:
        holder.execute(TAKE)

        assert hasty.refresh().cells_written == 27


def wait_until_somebody_waits(analytics: Connection) -> None:
    """Return when a session stands in the queue for the lock."""
    give_up = datetime.now(UTC) + timedelta(seconds=30)
    while analytics.execute(WAITING).fetchone() == (0,):
        assert datetime.now(UTC) < give_up
        time.sleep(0.01)
