"""How complete an organization's figures are is said in the transaction that publishes them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from pipelines.extract.request import Request
from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import extract_changes, publish_changes, reconcile, refresh
from pipelines.settings import Settings, Tier
from tests.support.planting import DAY, HOUR, NOON, Tenant, cells, plant_job, plant_tenant


def test_everything_written_down_before_is_in_the_figures(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """It is the source's own time of the snapshot, for organizations with and without a job."""
    tenant, idle = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    before = now(source)

    refresh(databases, settings)

    after = now(source)
    for organization in (tenant, idle):
        said = completeness(analytics, organization.organization)
        assert before <= said["complete_through"] == said["extracted_at"] <= after
        assert said["verified_at"] is None


def test_an_hour_without_a_row_had_no_jobs(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Each hour before it has exactly the jobs of the source, whether there is a row or not."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    this_hour = now(source).replace(minute=0, second=0, microsecond=0)
    for age in (1, 3):
        plant_job(source, tenant, completed_at=this_hour - age * HOUR)
    plant_job(source, neighbour, completed_at=this_hour - 2 * HOUR)

    refresh(databases, settings)

    through = completeness(analytics, tenant.organization)["complete_through"]
    hours = [this_hour - age * HOUR for age in (4, 3, 2, 1)]
    assert all(hour + HOUR <= through for hour in hours)
    assert [executions(analytics, tenant, hour) for hour in hours] == [0, 1, 0, 1]


def test_it_moves_with_the_figures_and_not_before(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Facts that are up to date are not figures yet: only the second half of a pass moves it."""
    tenant = plant_tenant(source)
    plant_tenant(source, "Neighbour")
    refresh(databases, settings)
    first = completeness(analytics, tenant.organization)
    plant_job(source, tenant)

    extraction = extract_changes(databases, settings, Request())
    between = completeness(analytics, tenant.organization)
    publish_changes(databases, settings, extraction)

    assert between == first
    last = completeness(analytics, tenant.organization)
    assert last["complete_through"] > first["complete_through"]
    assert last["published_version"] > first["published_version"]


def test_a_stalled_organization_stops_only_its_own(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Whoever was not read, or could not be published, is as complete as before; the others go on."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    for number in range(20):
        plant_tenant(source, f"Other {number}")
    refresh(databases, settings)
    first = {key: completeness(analytics, key) for key in (tenant.organization, neighbour.organization)}

    refresh(databases, settings, organization_ids=[neighbour.organization])
    second = completeness(analytics, neighbour.organization)
    source.execute(
        "UPDATE orchestration.organizations SET time_zone = 'Mars/Olympus_Mons' WHERE id = %s",
        [tenant.organization],
    )
    refresh(databases, settings)

    assert second["complete_through"] > first[neighbour.organization]["complete_through"]
    assert completeness(analytics, tenant.organization) == first[tenant.organization]
    assert completeness(analytics, neighbour.organization)["complete_through"] > second["complete_through"]


def test_an_index_sees_less_than_a_sweep(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """What was open for longer than the lookback may be missing, so it is complete only so far back."""
    tenant = plant_tenant(source)
    plant_tenant(source, "Neighbour")
    lookback = timedelta(milliseconds=300)
    indexed = settings.model_copy(update={"extraction": Tier.INDEXED, "lookback": lookback})
    refresh(databases, indexed)
    swept = completeness(analytics, tenant.organization)

    refresh(databases, indexed)

    said = completeness(analytics, tenant.organization)
    assert swept["complete_through"] == swept["extracted_at"]
    assert said["complete_through"] == max(said["extracted_at"] - lookback, swept["complete_through"])


def test_reconciling_an_old_range_does_not_pretend_less(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A reconcile is a refresh too, so it is complete through its own snapshot and not through its range."""
    tenant = plant_tenant(source)
    plant_job(source, tenant)
    plant_job(source, plant_tenant(source, "Neighbour"))
    refresh(databases, settings)
    before = completeness(analytics, tenant.organization)["complete_through"]

    reconcile(databases, settings, since=NOON - DAY, until=NOON + DAY)

    assert completeness(analytics, tenant.organization)["complete_through"] > before


def completeness(analytics: psycopg.Connection, organization: UUID) -> dict[str, Any]:
    """What is said of an organization."""
    row = analytics.execute(
        "SELECT complete_through, extracted_at, published_version, verified_at"
        " FROM analytics.watermarks WHERE subject = 'jobs' AND organization_id = %s",
        [organization],
    ).fetchone()
    names = ("complete_through", "extracted_at", "published_version", "verified_at")
    return dict(zip(names, row, strict=True))


def executions(analytics: psycopg.Connection, tenant: Tenant, hour: datetime) -> int:
    """How many jobs the total of an hour counts; no row is none."""
    return sum(
        cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if key[1:3] == ("hour", hour) and key[3].int == key[4].int == 0 and key[5] == "all"
    )


def now(source: psycopg.Connection) -> datetime:
    """What the source's clock says."""
    return source.execute("SELECT clock_timestamp()").fetchone()[0]
