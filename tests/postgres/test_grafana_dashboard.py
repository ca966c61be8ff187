"""Every panel of the dashboard for Grafana asks what the views can answer, for one tenant alone."""

import json
from itertools import product
from typing import Any

import psycopg
import pytest

from pipelines.postgres.connections import Databases, Run
from pipelines.query.tenant import admit, reading_as
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings
from tests.support.places import ROOT
from tests.support.planting import DAY, NOON, Tenant, plant_jobs, plant_tenant

DASHBOARD = json.loads((ROOT / "docs/grafana/dashboard.json").read_text("utf-8"))
QUERIES = {panel["title"]: panel["targets"][0]["rawSql"] for panel in DASHBOARD["panels"]}


@pytest.fixture
def tenant(databases: Databases, settings: Settings, source: psycopg.Connection) -> Tenant:
    """One of two organizations with two jobs, one of them without a client; refreshed."""
    tenants = plant_tenant(source), plant_tenant(source, "Neighbour")
    for one in tenants:
        plant_jobs(source, one, [{}, {"client_id": None, "status": "FAILED", "initiator_type": None}])
    refresh(Run(databases, settings))
    return tenants[0]


def test_a_panel_shows_the_tenant_and_nobody_else(
    tenant: Tenant, databases: Databases, settings: Settings
) -> None:
    """Each statement runs once Grafana has put the range and the period in, and adds up to two jobs."""
    for title, period in product(QUERIES, ("hour", "day", "week", "month")):
        rows = answer(QUERIES[title], period, tenant, databases, settings)

        counted = [row.get("executions", row.get("completed", 0) + row.get("failed", 0)) for row in rows]
        counts_jobs = title in ("Executions", "Workflows", "Clients", "Initiators")
        assert rows
        assert sum(counted) == (2 if counts_jobs else 0), (title, period)
        if title == "Clients":
            assert {row["client_name"] for row in rows} == {"Acme client 1", "No client"}


def answer(
    query: str, period: str, tenant: Tenant, databases: Databases, settings: Settings
) -> list[dict[str, Any]]:
    """What a panel is shown for ninety days around NOON."""
    between = f"period_start BETWEEN '{NOON - 45 * DAY}' AND '{NOON + 45 * DAY}'"
    text = query.replace("$__timeFilter(period_start)", between).replace("$period", period)
    assert "$" not in text
    with reading_as(databases.analytics_url, settings, admit(tenant.organization)) as connection:
        cursor = connection.execute(text)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
