"""Status says, organization by organization, how far the aggregates are."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from pipelines.errors import SchemaMissing
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.explain import CellName, explain
from pipelines.runs.status import OrganizationStatus, status
from pipelines.settings import Settings, load_settings
from pipelines.subjects.rollup import Period
from tests.support.oracle import ALL
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, MINUTE, NOON


def test_status_counts_each_organization_apart(pipeline: Pipeline) -> None:
    """Jobs, cells and anomalies are those of the organization, under its name, the biggest first."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(tenant, started_at=NOON + MINUTE)
    pipeline.plant_jobs(neighbour, [{"completed_at": NOON + day * DAY} for day in range(40)])
    pipeline.plant_job(neighbour, status="RUNNING", completed_at=None)
    pipeline.refresh()

    found = pipeline.status()

    assert [(said.organization_id, said.name) for said in found.organizations] == [
        (neighbour.organization, "Neighbour"),
        (tenant.organization, "Acme"),
    ]
    cells = len(pipeline.cells(neighbour.organization))
    assert [(said.jobs, said.anomalies, said.cells) for said in found.organizations] == [
        (40, 0, cells),
        (1, 1, 27),
    ]
    assert (found.jobs, found.cells) == (41, len(pipeline.cells()))
    assert found.cells_per_job == pytest.approx(found.cells / 41)


def test_an_organization_is_complete_through_the_moment_it_was_read(pipeline: Pipeline) -> None:
    """It is the source's clock in the snapshot, so a restricted run moves its own organization alone."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    begun = datetime.now(UTC)
    pipeline.refresh()
    before = by_name(pipeline)
    pipeline.plant_job(tenant)

    pipeline.refresh(organization_ids=[tenant.organization])

    after = by_name(pipeline)
    assert after["Neighbour"] == before["Neighbour"]
    assert after["Acme"].complete_through > before["Acme"].complete_through
    assert after["Acme"].cursor > before["Acme"].cursor
    assert begun - timedelta(seconds=5) < before["Acme"].complete_through < datetime.now(UTC)
    assert before["Acme"].complete_through == before["Neighbour"].complete_through
    assert {after["Acme"].organization_id, after["Neighbour"].organization_id} == {
        tenant.organization,
        neighbour.organization,
    }


def test_status_tells_the_time_zone_and_when_figures_were_verified(pipeline: Pipeline) -> None:
    """Each organization has its own zone; verified is one that an audit found right."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.live_in(tenant, "Asia/Kolkata")
    pipeline.plant_job(tenant)
    pipeline.plant_job(neighbour)
    pipeline.refresh()
    before = by_name(pipeline)

    pipeline.audit()

    after = by_name(pipeline)
    assert {name: said.time_zone for name, said in before.items()} == {
        "Acme": "Asia/Kolkata",
        "Neighbour": "UTC",
    }
    assert {said.verified_at for said in before.values()} == {None}
    assert all(said.verified_at and said.verified_at > said.complete_through for said in after.values())


def test_status_names_what_went_wrong_last(pipeline: Pipeline) -> None:
    """An organization that failed is named with the class of it until it is published again."""
    tenant, _ = pipeline.plant_pair()
    tolerant = pipeline.having(tolerated_failures_pct=100)
    pipeline.refresh()
    pipeline.live_in(tenant, "Mars/Olympus_Mons")
    tolerant.refresh()
    failing = by_name(pipeline)
    pipeline.live_in(tenant, "Asia/Kolkata")

    tolerant.refresh()

    mended = by_name(pipeline)
    assert {name: said.failing for name, said in failing.items()} == {
        "Acme": "UnknownTimeZone",
        "Neighbour": None,
    }
    assert failing["Acme"].complete_through < failing["Neighbour"].complete_through
    assert {said.failing for said in mended.values()} == {None}
    assert mended["Acme"].complete_through == mended["Neighbour"].complete_through


def test_a_database_that_was_never_refreshed_has_nothing_to_say(pipeline: Pipeline) -> None:
    """Planted but unread organizations are not listed, and there is no ratio of nothing to nothing."""
    pipeline.plant_job(pipeline.plant_tenant())

    found = pipeline.status()

    assert (found.organizations, found.jobs, found.cells_per_job) == ((), 0, None)


@pytest.mark.parametrize("asked", [status, partial(explain, name=CellName(ALL, Period.DAY, NOON))])
def test_what_reads_aggregates_needs_the_tables(
    asked: Callable[[Run], object], server: str, settings: Settings
) -> None:
    """Status and explain answer an empty database with what to do about it."""
    bare = load_settings(database_url=server, home=settings.home)

    with pytest.raises(SchemaMissing, match="execmetrics migrate"):
        asked(Run(Databases(server, server), bare))


def by_name(pipeline: Pipeline) -> dict[str, OrganizationStatus]:
    """What is said of each organization."""
    return {said.name: said for said in pipeline.status().organizations}
