"""Tidying the facts: fewer files, the same figures, and nothing gone that somebody still needs."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from pipelines.executions.blobs import BlobStore
from pipelines.settings import Settings
from tests.support.dagster_runs import job_run, outcome
from tests.support.pipeline import Pair, Pipeline
from tests.support.planting import DAY, MINUTE, NOON

HOURS = 6


@pytest.fixture
def tenants(pipeline: Pipeline) -> Pair:
    """Two tenants whose jobs came hour by hour, each hour in files of its own."""
    tenants = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for hour in range(HOURS):
        for tenant in tenants:
            pipeline.plant_job(tenant, completed_at=NOON + hour * MINUTE)
        pipeline.refresh()
    return tenants


@pytest.mark.usefixtures("tenants")
def test_small_files_become_one(pipeline: Pipeline) -> None:
    """A day that grew hour by hour is one file afterwards; the next pass writes nothing."""
    before = pipeline.row_versions()
    small = live_files(pipeline.settings)

    report = pipeline.tidy_facts()

    assert (small, report.files_merged, live_files(pipeline.settings)) == (HOURS, HOURS, 1)
    again = pipeline.refresh()
    assert (again.cells_computed, again.cells_written, again.cells_deleted) == (0, 0, 0)
    assert pipeline.row_versions() == before
    verified = pipeline.verify()
    assert (verified.cells_pending, verified.differences) == (0, ())
    assert verified.cells_compared == len(before)


def test_changes_after_a_tidying_are_published(tenants: Pair, pipeline: Pipeline) -> None:
    """The feed goes on across merged files: a change before and one after it reach the table."""
    tenant, neighbour = tenants
    job = pipeline.plant_job(tenant)
    pipeline.refresh(organization_ids=[tenant.organization])
    pipeline.tidy_facts()
    pipeline.change_job(job, status="FAILED", completed_at=NOON + DAY)
    pipeline.plant_job(neighbour)

    pipeline.refresh()

    assert pipeline.differences() == []
    assert pipeline.verify().differences == ()


def test_old_files_go_after_a_week(tenants: Pair, pipeline: Pipeline) -> None:
    """Young files stay for whoever reads them; a week later the feed's files go, and all still works."""
    job = pipeline.plant_job(tenants[0])
    pipeline.refresh()
    pipeline.change_job(job, initiator_type="SCHEDULE")
    pipeline.refresh()
    assert pipeline.tidy_facts().files_removed == 0
    feed = len(list(feed_files(pipeline.settings)))
    make_old(pipeline.settings)

    report = pipeline.tidy_facts()

    assert feed > 0
    assert report.files_removed >= feed
    assert list(feed_files(pipeline.settings)) == []
    pipeline.change_job(job, status="FAILED")
    pipeline.refresh()
    assert pipeline.differences() == []


def test_aggregates_restored_from_before_a_tidying_catch_up(tenants: Pair, pipeline: Pipeline) -> None:
    """What was published is older than the feed that is left: everything is computed anew, once."""
    tenant, neighbour = tenants
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    tables = ("aggregate_metrics", "watermarks", "job_anomalies")
    for table in tables:
        pipeline.analytics.execute(f"CREATE TABLE public.{table} AS SELECT * FROM analytics.{table}")
    pipeline.change_job(job, status="FAILED", completed_at=NOON + DAY)
    pipeline.plant_job(neighbour)
    pipeline.refresh()
    make_old(pipeline.settings)
    assert pipeline.tidy_facts().files_removed > 0
    for table in tables:
        pipeline.analytics.execute(f"TRUNCATE analytics.{table}")
        pipeline.analytics.execute(f"INSERT INTO analytics.{table} SELECT * FROM public.{table}")

    pipeline.refresh()

    assert pipeline.differences() == []
    assert pipeline.refresh().cells_computed == 0


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
def test_dagster_sweeps_blobs(pipeline: Pipeline) -> None:
    """The weekly job removes a definition that nobody has named for a day, and says how large it was."""
    settings, store = pipeline.settings, BlobStore.of(pipeline.settings)
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    old, named, young = (
        store.keep(tenant.organization, content) for content in (b"orphan", b"named", b"young orphan")
    )
    pipeline.source.execute(
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
