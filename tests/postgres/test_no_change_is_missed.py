"""Whatever the commit order, whoever's clock is wrong: in the end every change has reached its cells."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from pipelines.postgres.connections import Databases, Run
from pipelines.runs.refresh import reconcile_created, refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings, Tier, load_settings
from tests.support.concurrent_writers import NaiveReader, run_writers
from tests.support.oracle import cells_by_sql, differences
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
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`auto` decides by the size of the table; what the index cannot see waits for the sweep."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    job, _ = plant_job(source, tenant), plant_job(source, neighbour)
    refresh(Run(databases, settings))
    raw = "UPDATE orchestration.jobs SET initiator_type = %s WHERE id = %s"
    source.execute(raw, ["BEHIND ITS BACK", job])

    monkeypatch.setattr("pipelines.source.snapshot.LARGE_TABLE_BYTES", 1)
    large = refresh(Run(databases, settings))
    due = refresh(Run(databases, settings.model_copy(update={"sweep_every": timedelta(milliseconds=1)})))
    monkeypatch.undo()
    source.execute(raw, ["AGAIN", job])
    small = refresh(Run(databases, settings))

    assert (large.facts_updated, due.facts_updated, small.facts_updated) == (0, 1, 1)
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_the_index_looks_back_as_far_as_it_is_told(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """What a clock wrote that is minutes behind comes at once, and what is hours behind with the sweep."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    for each in (tenant, neighbour):
        plant_job(source, each)
    indexed = settings.model_copy(update={"extraction": Tier.INDEXED, "lookback": timedelta(minutes=30)})
    refresh(Run(databases, indexed))
    for behind in (timedelta(minutes=20), timedelta(minutes=40)):
        plant_job(source, tenant, updated_at=datetime.now(UTC) - behind)

    looked = refresh(Run(databases, indexed))
    swept = refresh(Run(databases, settings))

    assert (looked.facts_inserted, swept.facts_inserted) == (1, 1)
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_an_organization_without_a_row_is_read_whole_when_the_index_meets_it(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A loose source has jobs of an organization that it does not list; the old ones count as well."""
    without_constraints(source)
    tenant, unlisted = plant_tenant(source), plant_tenant(source, "Unlisted")
    plant_job(source, tenant)
    source.execute("DELETE FROM orchestration.organizations WHERE id = %s", [unlisted.organization])
    indexed = settings.model_copy(update={"extraction": Tier.INDEXED})
    refresh(Run(databases, indexed))
    plant_job(source, unlisted, completed_at=NOON - DAY)
    plant_job(source, unlisted, updated_at=datetime.now(UTC))

    report = refresh(Run(databases, indexed))

    assert (report.organizations, report.facts_inserted) == (2, 2)
    assert verify(Run(databases, indexed)).differences == ()
    assert (
        sum(
            cell["total_executions"]
            for key, cell in cells(analytics, unlisted.organization).items()
            if key[1] == "month" and key[3].int == key[4].int == 0 and key[5] == "all"
        )
        == 2
    )


def test_an_organization_without_a_row_is_read_whole_when_a_checksum_comparison_meets_it(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """Checksums are of recent days; an organization that is met for the first time has older jobs, too."""
    without_constraints(source)
    tenant, unlisted = plant_tenant(source), plant_tenant(source, "Unlisted")
    plant_job(source, tenant)
    source.execute("DELETE FROM orchestration.organizations WHERE id = %s", [unlisted.organization])
    indexed = settings.model_copy(update={"extraction": Tier.INDEXED})
    refresh(Run(databases, indexed))
    for completed_at in (NOON - 9 * DAY, NOON):
        plant_job(source, unlisted, completed_at=completed_at, updated_at=NOON - 90 * DAY)

    report = reconcile_created(Run(databases, indexed), since=(NOON - DAY).date())

    assert report.facts_inserted == 2
    assert wrong(databases) == []


def wrong(databases: Databases) -> list[str]:
    """What differs between the stored cells and plain SQL on the source."""
    with (
        psycopg.connect(databases.analytics_url) as analytics,
        psycopg.connect(databases.source_url) as source,
    ):
        return differences(cells(analytics), cells_by_sql(source))
