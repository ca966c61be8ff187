"""A workflow or client that changes hands: its jobs are unchanged rows, and their figures change."""

import pytest
from psycopg import Connection

from tests.support.pipeline import Pipeline
from tests.support.planting import Tenant, cells, without_constraints


@pytest.fixture
def tenants(pipeline: Pipeline) -> tuple[Tenant, Tenant, Tenant]:
    """A tenant with two jobs, one to whom things are handed over, and a neighbour; all refreshed."""
    without_constraints(pipeline.source)
    giver, taker, neighbour = (pipeline.plant_tenant(name) for name in ("Giver", "Taker", "Neighbour"))
    pipeline.plant_job(giver, workflow_id=giver.workflows[0], client_id=giver.clients[0])
    pipeline.plant_job(giver, workflow_id=giver.workflows[1], client_id=giver.clients[1])
    pipeline.plant_job(taker)
    pipeline.plant_job(neighbour)
    pipeline.refresh()
    return giver, taker, neighbour


@pytest.mark.parametrize("thing", ["workflow", "client"])
def test_the_next_refresh_follows_a_change_of_hands(
    thing: str, tenants: tuple[Tenant, Tenant, Tenant], pipeline: Pipeline
) -> None:
    """The giver's job with it is foreign from now on, and counts again when it comes back."""
    giver, taker, neighbour = tenants
    others = pipeline.row_versions(neighbour.organization)
    handed = (giver.workflows if thing == "workflow" else giver.clients)[0]

    hand_over(pipeline.source, thing, handed, taker)
    pipeline.refresh()
    given = (total(pipeline.analytics, giver), {row[1:] for row in pipeline.listed(giver.organization)})
    hand_over(pipeline.source, thing, handed, giver)
    back = pipeline.refresh()

    assert given == (1, {(f"foreign_{thing}", "not_counted")})
    assert (total(pipeline.analytics, giver), pipeline.listed()) == (2, set())
    assert back.facts_updated == 1
    assert pipeline.row_versions(neighbour.organization) == others
    report = pipeline.verify()
    assert (report.differences, report.cells_pending) == ((), 0)
    assert pipeline.refresh().cells_computed == 0


def test_a_change_of_hands_waits_for_its_former_owner(
    tenants: tuple[Tenant, Tenant, Tenant], pipeline: Pipeline
) -> None:
    """The new owner may be refreshed alone first: the job of the old owner is listed all the same, later."""
    giver, taker, _ = tenants
    hand_over(pipeline.source, "workflow", giver.workflows[0], taker)

    pipeline.refresh(organization_ids=[taker.organization])
    early = (total(pipeline.analytics, giver), pipeline.listed())
    pipeline.refresh()

    assert early == (2, set())
    assert total(pipeline.analytics, giver) == 1
    assert {row[1] for row in pipeline.listed(giver.organization)} == {"foreign_workflow"}
    assert pipeline.verify().differences == ()


@pytest.mark.parametrize("thing", ["workflow", "client"])
def test_until_then_its_cells_are_pending(
    thing: str, tenants: tuple[Tenant, Tenant, Tenant], pipeline: Pipeline
) -> None:
    """What the next refresh will change is on its way, whoever is asked for, and no difference."""
    giver, taker, neighbour = tenants
    hand_over(pipeline.source, thing, (giver.workflows if thing == "workflow" else giver.clients)[0], taker)

    reports = [pipeline.verify(organization_ids=[each.organization]) for each in (giver, taker, neighbour)]

    assert [report.differences for report in reports] == [()] * 3
    assert [report.cells_pending for report in reports] == [27, 0, 0]
    pipeline.refresh()
    assert pipeline.verify().cells_pending == 0
    assert total(pipeline.analytics, giver) == 1


def hand_over(source: Connection, thing: str, handed: object, to: Tenant) -> None:
    """Give a workflow or client to another organization."""
    source.execute(
        f"UPDATE orchestration.{thing}s SET organization_id = %s, updated_at = now() WHERE id = %s",
        [to.organization, handed],
    )


def total(analytics: Connection, tenant: Tenant) -> int:
    """How many jobs of an organization are counted."""
    return sum(
        cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if key[1] == "month" and key[3].int == key[4].int == 0 and key[5] == "all"
    )
