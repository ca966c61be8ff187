"""How complete an organization's figures are is said in the transaction that publishes them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row

from pipelines.extract.request import Request
from pipelines.runs.refresh import publish_changes
from pipelines.settings import Tier
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, NOON, Tenant, cells


def test_everything_written_down_before_is_in_the_figures(pipeline: Pipeline) -> None:
    """It is the source's own time of the snapshot, for organizations with and without a job."""
    tenant, idle = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(tenant)
    before = now(pipeline.source)

    pipeline.refresh()

    after = now(pipeline.source)
    for organization in (tenant, idle):
        said = completeness(pipeline.analytics, organization.organization)
        assert before <= said["complete_through"] == said["extracted_at"] <= after
        assert said["verified_at"] is None


def test_an_hour_without_a_row_had_no_jobs(pipeline: Pipeline) -> None:
    """Each hour before it has exactly the jobs of the source, whether there is a row or not."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    this_hour = now(pipeline.source).replace(minute=0, second=0, microsecond=0)
    for age in (1, 3):
        pipeline.plant_job(tenant, completed_at=this_hour - age * HOUR)
    pipeline.plant_job(neighbour, completed_at=this_hour - 2 * HOUR)

    pipeline.refresh()

    through = completeness(pipeline.analytics, tenant.organization)["complete_through"]
    hours = [this_hour - age * HOUR for age in (4, 3, 2, 1)]
    assert all(hour + HOUR <= through for hour in hours)
    assert [executions(pipeline.analytics, tenant, hour) for hour in hours] == [0, 1, 0, 1]


def test_it_moves_with_the_figures_and_not_before(pipeline: Pipeline) -> None:
    """Facts that are up to date are not figures yet: only the second half of a pass moves it."""
    tenant = pipeline.plant_tenant()
    pipeline.plant_tenant("Neighbour")
    pipeline.refresh()
    first = completeness(pipeline.analytics, tenant.organization)
    pipeline.plant_job(tenant)

    extraction = pipeline.extract_changes(Request())
    between = completeness(pipeline.analytics, tenant.organization)
    publish_changes(pipeline.run, extraction)

    assert between == first
    last = completeness(pipeline.analytics, tenant.organization)
    assert last["complete_through"] > first["complete_through"]
    assert last["published_version"] > first["published_version"]


def test_a_stalled_organization_stops_only_its_own(pipeline: Pipeline) -> None:
    """One that was not read, or could not be published, is as complete as before; the others go on."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for number in range(20):
        pipeline.plant_tenant(f"Other {number}")
    pipeline.refresh()
    first = {
        key: completeness(pipeline.analytics, key) for key in (tenant.organization, neighbour.organization)
    }

    pipeline.refresh(organization_ids=[neighbour.organization])
    second = completeness(pipeline.analytics, neighbour.organization)
    pipeline.live_in(tenant, "Mars/Olympus_Mons")
    pipeline.refresh()

    assert second["complete_through"] > first[neighbour.organization]["complete_through"]
    assert completeness(pipeline.analytics, tenant.organization) == first[tenant.organization]
    assert (
        completeness(pipeline.analytics, neighbour.organization)["complete_through"]
        > second["complete_through"]
    )


def test_an_index_sees_less_than_a_sweep(pipeline: Pipeline) -> None:
    """What was open for longer than the lookback may be missing, so it is complete only so far back."""
    tenant = pipeline.plant_tenant()
    pipeline.plant_tenant("Neighbour")
    lookback = timedelta(milliseconds=300)
    indexed = pipeline.having(extraction=Tier.INDEXED, lookback=lookback)
    indexed.refresh()
    swept = completeness(pipeline.analytics, tenant.organization)

    indexed.refresh()

    said = completeness(pipeline.analytics, tenant.organization)
    assert swept["complete_through"] == swept["extracted_at"]
    assert said["complete_through"] == max(said["extracted_at"] - lookback, swept["complete_through"])


def test_reconciling_an_old_range_does_not_pretend_less(pipeline: Pipeline) -> None:
    """A reconcile is a refresh too, so it is complete through its own snapshot and not through its range."""
    tenant, _ = pipeline.plant_pair()
    pipeline.refresh()
    before = completeness(pipeline.analytics, tenant.organization)["complete_through"]

    pipeline.reconcile(since=NOON - DAY, until=NOON + DAY)

    assert completeness(pipeline.analytics, tenant.organization)["complete_through"] > before


def completeness(analytics: Connection, organization: UUID) -> dict[str, Any]:
    """What is said of an organization."""
    with analytics.cursor(row_factory=dict_row) as cursor:
        found = "SELECT * FROM analytics.watermarks WHERE subject = 'jobs' AND organization_id = %s"
        return cursor.execute(found, [organization]).fetchone()


def executions(analytics: Connection, tenant: Tenant, hour: datetime) -> int:
    """How many jobs the total of an hour counts; no row is none."""
    return sum(
        cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if key[1:3] == ("hour", hour) and key[3].int == key[4].int == 0 and key[5] == "all"
    )


def now(source: Connection) -> datetime:
    """What the source's clock says."""
    return source.execute("SELECT clock_timestamp()").fetchone()[0]
