"""Tidying the facts: fewer files, the same figures, and nothing gone that somebody still needs."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from deltalake import DeltaTable

from pipelines.executions.blobs import BlobStore
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.maintenance import tidy_facts
from pipelines.runs.refresh import refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.support.dagster_runs import job_run, outcome
from tests.support.oracle import cells_by_sql, differences
from tests.support.planting import (
    DAY,
    MINUTE,
    NOON,
    Tenant,
    cells,
    change_job,
    plant_job,
    plant_tenant,
    row_versions,
)

HOURS = 6


@pytest.fixture
def tenants(source: psycopg.Connection, databases: Databases, settings: Settings) -> tuple[Tenant, Tenant]:
    """Two tenants whose jobs came hour by hour, each hour in files of its own."""
    tenants = plant_tenant(source), plant_tenant(source, "Neighbour")
    for hour in range(HOURS):
        for tenant in tenants:
            plant_job(source, tenant, completed_at=NOON + hour * MINUTE)
        refresh(Run(databases, settings))
    return tenants


@pytest.mark.usefixtures("tenants")
def test_small_files_become_one(
    databases: Databases, settings: Settings, analytics: psycopg.Connection
) -> None:
    """A day that grew hour by hour is one file afterwards; the next pass writes nothing."""
    before = row_versions(analytics)
    small = live_files(settings)

    report = tidy_facts(Run(databases, settings))

    assert (small, report.files_merged, live_files(settings)) == (HOURS, HOURS, 1)
    again = refresh(Run(databases, settings))
    assert (again.cells_computed, again.cells_written, again.cells_deleted) == (0, 0, 0)
    assert row_versions(analytics) == before
    verified = verify(Run(databases, settings))
    assert (verified.cells_pending, verified.differences) == (0, ())
    assert verified.cells_compared == len(before)


def test_changes_after_a_tidying_are_published(
    tenants: tuple[Tenant, Tenant],
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """The feed goes on across merged files: a change before and one after it reach the table."""
    tenant, neighbour = tenants
    job = plant_job(source, tenant)
    refresh(Run(databases, settings), organization_ids=[tenant.organization])
    tidy_facts(Run(databases, settings))
    change_job(source, job, status="FAILED", completed_at=NOON + DAY)
    plant_job(source, neighbour)

    refresh(Run(databases, settings))

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert verify(Run(databases, settings)).differences == ()


def test_old_files_go_after_a_week(
    tenants: tuple[Tenant, Tenant],
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """Young files stay for whoever reads them; a week later the feed's files go, and all still works."""
    job = plant_job(source, tenants[0])
    refresh(Run(databases, settings))
    change_job(source, job, initiator_type="SCHEDULE")
    refresh(Run(databases, settings))
    assert tidy_facts(Run(databases, settings)).files_removed == 0
    feed = len(list(feed_files(settings)))
    make_old(settings)

    report = tidy_facts(Run(databases, settings))

    assert feed > 0
    assert report.files_removed >= feed
    assert list(feed_files(settings)) == []
    change_job(source, job, status="FAILED")
    refresh(Run(databases, settings))
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_aggregates_restored_from_before_a_tidying_catch_up(
    tenants: tuple[Tenant, Tenant],
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """What was published is older than the feed that is left: everything is computed anew, once."""
    tenant, neighbour = tenants
    job = plant_job(source, tenant)
    refresh(Run(databases, settings))
    tables = ("aggregate_metrics", "watermarks", "job_anomalies")
    for table in tables:
        analytics.execute(f"CREATE TABLE public.{table} AS SELECT * FROM analytics.{table}")
    change_job(source, job, status="FAILED", completed_at=NOON + DAY)
    plant_job(source, neighbour)
    refresh(Run(databases, settings))
    make_old(settings)
    assert tidy_facts(Run(databases, settings)).files_removed > 0
    for table in tables:
        analytics.execute(f"TRUNCATE analytics.{table}")
        analytics.execute(f"INSERT INTO analytics.{table} SELECT * FROM public.{table}")

    refresh(Run(databases, settings))

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert refresh(Run(databases, settings)).cells_computed == 0


@pytest.mark.usefixtures("configured", "tenants")
def test_dagster_tidies(settings: Settings) -> None:
    """The weekly job does it, and says how much."""
    assert outcome(job_run("tidy_job_facts")) == {
        "files_merged": HOURS,
        "files_removed": 0,
        "tombstones_removed": 0,
        "organizations_forgotten": 0,
    }
    assert live_files(settings) == 1


@pytest.mark.usefixtures("configured")
def test_dagster_sweeps_blobs(settings: Settings, source: psycopg.Connection) -> None:
    """The weekly job removes a definition that nobody has named for a day, and says how large it was."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    store = BlobStore.of(settings)
    old, named, young = (
        store.keep(tenant.organization, content) for content in (b"orphan", b"named", b"young orphan")
    )
    source.execute(
        "UPDATE orchestration.workflows SET definition_reference = %s, definition_size_bytes = 5,"
        " definition_sha256 = %s WHERE id = %s",
        [named.reference, named.sha256, tenant.workflows[0]],
    )
    theirs = store.keep(neighbour.organization, b"named")
    for blob in (old, named):
        os.utime(settings.home / "blobs" / blob.reference, (0, 0))

    said = outcome(job_run("blob_sweeping"))

    assert said == {"blobs_removed": 1, "bytes_removed": 6, "blobs_of_unknown_organizations": 0}
    assert not (settings.home / "blobs" / old.reference).exists()
    assert [store.read(blob) for blob in (named, young, theirs)] == [b"named", b"young orphan", b"named"]


def live_files(settings: Settings) -> int:
    """How many files the newest version is made of."""
    return len(DeltaTable(settings.facts_location).file_uris())


def feed_files(settings: Settings) -> Iterator[Path]:
    """The files of the change feed."""
    return (Path(settings.facts_location) / "_change_data").rglob("*.parquet")


def make_old(settings: Settings) -> None:
    """Let eight days pass, for every file."""
    then = time.time() - 8 * 24 * 3600
    for file in Path(settings.facts_location).rglob("*.parquet"):
        os.utime(file, (then, then))
