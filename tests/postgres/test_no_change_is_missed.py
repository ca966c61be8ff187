"""Whatever the commit order, whoever's clock is wrong: in the end every change has reached its cells."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from pipelines.postgres.connections import Databases, Run
from pipelines.runs.refresh import refresh
from pipelines.runs.verify import verify
from pipelines.settings import Tier, load_settings
from tests.support.concurrent_writers import NaiveReader, run_writers
from tests.support.oracle import cells_by_sql, differences
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, NOON, cells, plant_job, plant_tenant, without_constraints
from tests.support.sampling import EVERYTHING

SECONDS, SEED = 8.0 if EVERYTHING else 4.0, 20261124

# Shorter than a transaction may stay open, and than a clock may be wrong.
LOOKBACK = timedelta(seconds=0.5)


def test_every_change_of_eight_writers_reaches_its_cells(
    create_database: Callable[[], str], tmp_path: Path
) -> None:
    """By sweep at once, by index after the next sweep; a cursor on `updated_at` misses some of them."""
    url = create_database()
    swept, indexed = (Databases(create_database(), url) for _ in range(2))
    by_sweep = load_settings(home=tmp_path / "swept", extraction=Tier.SWEEP)
    by_index = load_settings(home=tmp_path / "indexed", extraction=Tier.INDEXED, lookback=LOOKBACK)
    with psycopg.connect(url, autocommit=True) as source:
        tenants = [plant_tenant(source, f"Tenant {number}") for number in range(3)]
        for tenant in tenants:
            plant_job(source, tenant)
    naive = NaiveReader(url)
    writing = threading.Thread(target=run_writers, args=[url, tenants, SECONDS, SEED], daemon=True)
    passes = 0

    writing.start()
    while writing.is_alive():
        refresh(Run(swept, by_sweep))
        refresh(Run(indexed, by_index))
        naive.poll()
        passes += 1
    naive.poll()
    refresh(Run(swept, by_sweep))
    refresh(Run(indexed, by_index))
    behind = wrong(indexed)
    refresh(Run(indexed, by_index.model_copy(update={"sweep_every": timedelta(milliseconds=1)})))

    assert passes > 1
    assert naive.missed(), "the control must fail, or the writers are too tame"
    assert wrong(swept) == []
    assert behind, "a lookback shorter than the longest transaction loses something until the sweep"
    assert wrong(indexed) == []
    for databases, settings in ((swept, by_sweep), (indexed, by_index)):
        assert verify(Run(databases, settings)).differences == ()
        again = refresh(Run(databases, settings))
        assert (again.cells_written, again.cells_deleted, again.facts_updated) == (0, 0, 0)


def test_a_large_table_is_searched_by_its_index_until_a_sweep_is_due(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` decides by the size of the table; what the index cannot see waits for the sweep."""
    job = pipeline.plant_job(pipeline.plant_beside_a_neighbour())
    pipeline.refresh()
    raw = "UPDATE orchestration.jobs SET initiator_type = %s WHERE id = %s"
    pipeline.source.execute(raw, ["BEHIND ITS BACK", job])

    monkeypatch.setattr("pipelines.source.snapshot.LARGE_TABLE_BYTES", 1)
    large = pipeline.refresh()
    due = pipeline.having(sweep_every=timedelta(milliseconds=1)).refresh()
    monkeypatch.undo()
    pipeline.source.execute(raw, ["AGAIN", job])
    small = pipeline.refresh()

    assert (large.facts_updated, due.facts_updated, small.facts_updated) == (0, 1, 1)
    assert pipeline.differences() == []


def test_the_index_looks_back_as_far_as_it_is_told(pipeline: Pipeline) -> None:
    """What a clock wrote that is minutes behind comes at once, and what is hours behind with the sweep."""
    tenant, _ = pipeline.plant_pair()
    indexed = pipeline.having(extraction=Tier.INDEXED, lookback=timedelta(minutes=30))
    indexed.refresh()
    for behind in (timedelta(minutes=20), timedelta(minutes=40)):
        pipeline.plant_job(tenant, updated_at=datetime.now(UTC) - behind)

    looked, swept = indexed.refresh(), pipeline.refresh()

    assert (looked.facts_inserted, swept.facts_inserted) == (1, 1)
    assert pipeline.differences() == []


@pytest.mark.parametrize("met_by", ["index", "checksums"])
def test_an_organization_without_a_row_is_read_whole_when_it_is_met(pipeline: Pipeline, met_by: str) -> None:
    """A loose source has jobs of an organization that it does not list; the old ones count as well.

    The index meets it by what was updated lately, a checksum comparison by what was created on recent days.
    """
    without_constraints(pipeline.source)
    tenant, unlisted = pipeline.plant_tenant(), pipeline.plant_tenant("Unlisted")
    pipeline.plant_job(tenant)
    pipeline.source.execute("DELETE FROM orchestration.organizations WHERE id = %s", [unlisted.organization])
    indexed = pipeline.having(extraction=Tier.INDEXED)
    indexed.refresh()
    since = (NOON - DAY).date()
    updated_at = datetime.now(UTC) if met_by == "index" else NOON - 90 * DAY
    pipeline.plant_job(unlisted, completed_at=NOON - 9 * DAY, updated_at=NOON - 90 * DAY)
    pipeline.plant_job(unlisted, completed_at=NOON, updated_at=updated_at)

    report = indexed.refresh() if met_by == "index" else indexed.reconcile_created(since=since)

    assert (report.organizations, report.facts_inserted) == (2, 2)
    assert pipeline.count(unlisted) == 2
    assert indexed.verify().differences == ()
    assert pipeline.differences() == []


def wrong(databases: Databases) -> list[str]:
    """What differs between the stored cells and plain SQL on the source."""
    with (
        psycopg.connect(databases.analytics_url) as analytics,
        psycopg.connect(databases.source_url) as source,
    ):
        return differences(cells(analytics), cells_by_sql(source))
