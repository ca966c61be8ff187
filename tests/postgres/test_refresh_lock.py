"""One run at a time: a second one waits, and says so when it has waited long enough."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pipelines.errors import AnotherRunHoldsTheLock
from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import reconcile, refresh
from pipelines.settings import Settings
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import DAY, NOON, cells, plant_job, plant_tenant

pytestmark = pytest.mark.every_postgres

# What every run takes, spelt out: another program may have to hold it, too.
TAKE = "SELECT pg_advisory_lock(hashtextextended('execution-metrics refresh', 0))"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def test_a_run_waits_for_the_other_one(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A refresh that finds the lock taken starts when it is free, and reads what was committed meanwhile."""
    tenant = plant_tenant(source)
    plant_job(source, tenant)
    with ThreadPoolExecutor(1) as other, psycopg.connect(databases.analytics_url) as holder:
        holder.execute(TAKE)
        run = other.submit(refresh, databases, settings)
        wait_until_somebody_waits(analytics)
        plant_job(source, tenant, completed_at=NOON + DAY)
        before = cells(analytics)
        holder.close()
        report = run.result(timeout=60)

    assert before == {}
    assert report.rows_read == 2
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_run_that_waited_in_vain_says_so(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """After EXECMETRICS_LOCK_TIMEOUT it gives up with a plain sentence and has done nothing."""
    plant_job(source, plant_tenant(source))
    hasty = settings.model_copy(update={"lock_timeout": timedelta(milliseconds=150)})
    with psycopg.connect(databases.analytics_url) as holder:
        holder.execute(TAKE)

        with pytest.raises(AnotherRunHoldsTheLock, match="Another run is still at work"):
            refresh(databases, hasty)
        with pytest.raises(AnotherRunHoldsTheLock, match="EXECMETRICS_LOCK_TIMEOUT"):
            reconcile(databases, hasty, since=NOON, until=NOON + DAY)

    assert cells(analytics) == {}
    assert refresh(databases, hasty).cells_written == 27


def test_two_runs_at_once_give_the_right_table(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Started together they follow each other: one does the work and the other finds nothing left."""
    plant_job(source, plant_tenant(source))
    plant_job(source, plant_tenant(source, "Neighbour"))

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(refresh, databases, settings) for _ in range(2)]
        written = sorted(run.result(timeout=60).cells_written for run in runs)

    assert written == [0, 54]
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_the_lock_of_one_database_is_not_that_of_another(
    databases: Databases, settings: Settings, source: psycopg.Connection, server: str
) -> None:
    """Two products on one server do not wait for each other."""
    plant_job(source, plant_tenant(source))
    hasty = settings.model_copy(update={"lock_timeout": timedelta(milliseconds=150)})
    with psycopg.connect(server) as holder:
        holder.execute(TAKE)

        assert refresh(databases, hasty).cells_written == 27


def wait_until_somebody_waits(analytics: psycopg.Connection) -> None:
    """Return when a session stands in the queue for the lock."""
    give_up = datetime.now(UTC) + timedelta(seconds=30)
    while analytics.execute(WAITING).fetchone() == (0,):
        assert datetime.now(UTC) < give_up
        time.sleep(0.01)
