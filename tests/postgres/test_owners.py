"""A workflow or client that changes hands: its jobs are unchanged rows, and their figures change."""

import psycopg
import pytest

from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.support.planting import (
    Tenant,
    cells,
    listed,
    plant_job,
    plant_tenant,
    row_versions,
    without_constraints,
)


@pytest.fixture
def tenants(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> tuple[Tenant, Tenant, Tenant]:
    """A tenant with two jobs, one to whom things are handed over, and a neighbour; all refreshed."""
    without_constraints(source)
    giver, taker, neighbour = (plant_tenant(source, name) for name in ("Giver", "Taker", "Neighbour"))
    plant_job(source, giver, workflow_id=giver.workflows[0], client_id=giver.clients[0])
    plant_job(source, giver, workflow_id=giver.workflows[1], client_id=giver.clients[1])
    plant_job(source, taker)
    plant_job(source, neighbour)
    refresh(databases, settings)
    return giver, taker, neighbour


@pytest.mark.parametrize("thing", ["workflow", "client"])
def test_the_next_refresh_follows_a_change_of_hands(
    thing: str,
    tenants: tuple[Tenant, Tenant, Tenant],
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """The giver's job with it is foreign from now on, and counts again when it comes back."""
    giver, taker, neighbour = tenants
    others = row_versions(analytics, neighbour.organization)
    handed = (giver.workflows if thing == "workflow" else giver.clients)[0]

    hand_over(source, thing, handed, taker)
    refresh(databases, settings)
    given = (total(analytics, giver), {row[1:] for row in listed(analytics, giver.organization)})
    hand_over(source, thing, handed, giver)
    back = refresh(databases, settings)

    assert given == (1, {(f"foreign_{thing}", "not_counted")})
    assert (total(analytics, giver), listed(analytics)) == (2, set())
    assert back.facts_updated == 1
    assert row_versions(analytics, neighbour.organization) == others
    report = verify(databases, settings)
    assert (report.differences, report.cells_pending) == ((), 0)
    assert refresh(databases, settings).cells_computed == 0


def test_a_change_of_hands_waits_for_its_former_owner(
    tenants: tuple[Tenant, Tenant, Tenant],
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """Whoever has it now may be refreshed alone first: the giver's job is listed all the same, later."""
    giver, taker, _ = tenants
    hand_over(source, "workflow", giver.workflows[0], taker)

    refresh(databases, settings, organization_ids=[taker.organization])
    early = (total(analytics, giver), listed(analytics))
    refresh(databases, settings)

    assert early == (2, set())
    assert total(analytics, giver) == 1
    assert {row[1] for row in listed(analytics, giver.organization)} == {"foreign_workflow"}
    assert verify(databases, settings).differences == ()


@pytest.mark.parametrize("thing", ["workflow", "client"])
def test_until_then_its_cells_are_pending(
    thing: str,
    tenants: tuple[Tenant, Tenant, Tenant],
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """What the next refresh will change is on its way, whoever is asked for, and no difference."""
    giver, taker, neighbour = tenants
    hand_over(source, thing, (giver.workflows if thing == "workflow" else giver.clients)[0], taker)

    reports = [
        verify(databases, settings, organization_ids=[tenant.organization])
        for tenant in (giver, taker, neighbour)
    ]

    assert [report.differences for report in reports] == [()] * 3
    assert [report.cells_pending for report in reports] == [27, 0, 0]
    refresh(databases, settings)
    assert verify(databases, settings).cells_pending == 0
    assert total(analytics, giver) == 1


def hand_over(source: psycopg.Connection, thing: str, handed: object, to: Tenant) -> None:
    """Give a workflow or client to another organization."""
    source.execute(
        f"UPDATE orchestration.{thing}s SET organization_id = %s, updated_at = now() WHERE id = %s",
        [to.organization, handed],
    )


def total(analytics: psycopg.Connection, tenant: Tenant) -> int:
    """How many jobs of an organization are counted."""
    return sum(
        cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if key[1] == "month" and key[3].int == key[4].int == 0 and key[5] == "all"
    )
