"""Every panel of the dashboard for Grafana asks what the views can answer, for one tenant alone."""

import json
from itertools import product

from pipelines.query.tenant import Row, admit, reading_as, rows_of
from tests.support.pipeline import Pipeline
from tests.support.places import ROOT
from tests.support.planting import DAY, NOON, Tenant

DASHBOARD = json.loads((ROOT / "docs/grafana/dashboard.json").read_text("utf-8"))
QUERIES = {panel["title"]: panel["targets"][0]["rawSql"] for panel in DASHBOARD["panels"]}


def test_a_panel_shows_the_tenant_and_nobody_else(pipeline: Pipeline) -> None:
    """Each statement runs once Grafana has put the range and the period in, and adds up to two jobs."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for one in (tenant, neighbour):
        pipeline.plant_jobs(one, [{}, {"client_id": None, "status": "FAILED", "initiator_type": None}])
    pipeline.refresh()

    for title, period in product(QUERIES, ("hour", "day", "week", "month")):
        rows = answer(QUERIES[title], period, tenant, pipeline)

        counted = [row.get("executions", row.get("completed", 0) + row.get("failed", 0)) for row in rows]
        counts_jobs = title in ("Executions", "Workflows", "Clients", "Initiators")
        assert rows
        assert sum(counted) == (2 if counts_jobs else 0), (title, period)
        if title == "Clients":
            assert {row["client_name"] for row in rows} == {"Acme client 1", "No client"}


def answer(query: str, period: str, tenant: Tenant, pipeline: Pipeline) -> list[Row]:
    """What a panel is shown for ninety days around NOON."""
    between = f"period_start BETWEEN '{NOON - 45 * DAY}' AND '{NOON + 45 * DAY}'"
    text = query.replace("$__timeFilter(period_start)", between).replace("$period", period)
    assert "$" not in text
    identity = admit(tenant.organization)
    with reading_as(pipeline.databases.analytics_url, pipeline.settings, identity) as connection:
        return rows_of(connection, text, {})
