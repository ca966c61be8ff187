"""A dashboard's filters: what is told of a workflow, client or initiator is what the source has of it."""

from itertools import product
from typing import Any

import pytest
from psycopg.rows import dict_row

from tests.postgres.api.conftest import NAMES, RANGE, Api
from tests.support.planting import DAY, NOON, Tenant

# Whole months, of which every combination is stored.
MONTHS = {"since": "2024-01-01", "until": "2024-03-01"}
LISTS = {"workflows": "workflow", "clients": "client", "initiators": "initiator"}

TRUTH = """
    SELECT
        count(*) AS jobs, count(*) FILTER (WHERE status = 'FAILED') AS failed,
        avg(1000 * extract(epoch FROM completed_at - started_at))::float8 AS average_ms,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - started_at)::float8)
            * 1000 AS median_ms
    FROM orchestration.jobs
    WHERE
        organization_id = %(organization)s
        AND (%(workflow)s::text IS NULL OR workflow_id::text = %(workflow)s)
        AND (%(client)s::text IS NULL OR coalesce(client_id::text, 'none') = %(client)s)
        AND (%(initiator)s::text IS NULL OR coalesce(initiator_type, 'unknown') = %(initiator)s)
"""


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_summary_is_of_the_jobs_that_are_meant(shared: Api, number: int) -> None:
    """For every combination of one workflow, client and initiator, and it says of what it is.

    It counts the jobs that the source has of this organization, no job more; so do days and stored rows.
    """
    tenant = shared.tenants[number]
    for named in combinations(tenant):
        found = shared.ask(tenant, "summary", **MONTHS, **named).json()

        assert_equal(found, truth(shared, tenant, named), named)
        assert {name: found[name] for name in ("workflow_id", "client_id", "has_no_client")} == {
            "workflow_id": named.get("workflow"),
            "client_id": None if named.get("client") == "none" else named.get("client"),
            "has_no_client": named.get("client") == "none",
        }
        assert found["initiator_type"] == named.get("initiator")
    days = shared.ask(tenant, "summary", **RANGE).json()
    rows = shared.ask(tenant, "metrics", **RANGE, period="day").json()["rows"]
    assert_equal(days, truth(shared, tenant, {}), {})
    assert sum(row["total_executions"] for row in rows) == days["total_executions"]


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("question", LISTS)
def test_a_list_is_of_the_jobs_that_are_meant(shared: Api, question: str, number: int) -> None:
    """Each row of workflows, clients and initiators tells of its own part of a filter's jobs, by its name."""
    tenant, kind = shared.tenants[number], LISTS[question]
    for named in combinations(tenant):
        if kind in named:
            continue
        answer = shared.ask(tenant, question, **MONTHS, **named).json()

        assert (answer["since"], answer["until"]) == ("2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z")
        rows = answer[question]
        for row in rows:
            own = named | {kind: key_of(row, kind)}
            assert_equal(row, truth(shared, tenant, own), own)
        whole = truth(shared, tenant, named)
        assert sum(row["total_executions"] for row in rows) == whole["jobs"]
        averages = [row["average_duration_ms"] or -1 for row in rows]
        assert averages == sorted(averages, reverse=True)
        if kind != "initiator":
            names = {row["name"] for row in rows} - {None}
            assert names == {f"{NAMES[number]} {kind} {each}" for each in (1, 2)}
    days = shared.ask(tenant, question, **RANGE).json()[question]
    assert sum(row["total_executions"] for row in days) == truth(shared, tenant, {})["jobs"]


def test_two_days_and_three_dimensions_are_refused(shared: Api) -> None:
    """What is not stored is not told; the sentence says what is."""
    tenant = shared.tenants[0]
    three = {"workflow": tenant.workflows[0], "client": "none", "initiator": "USER"}

    refused = shared.ask(tenant, "summary", **RANGE, **three)
    two = shared.ask(tenant, "summary", **RANGE, workflow=tenant.workflows[0], client="none")

    assert (refused.status_code, two.status_code) == (422, 200)
    assert "whole weeks and months of the organization's time zone" in refused.json()["detail"]


def test_percentiles_that_nothing_tells_are_null(shared: Api) -> None:
    """Of three dimensions over two months: everything else is there, and the answer says why they are not."""
    tenant = shared.tenants[0]
    three = {"workflow": tenant.workflows[0], "client": tenant.clients[0], "initiator": "USER"}

    months = shared.ask(tenant, "summary", **MONTHS, **three).json()
    month = shared.ask(tenant, "summary", since="2024-02-01", until="2024-03-01", **three).json()

    assert months["timed_executions"] > 0
    assert (months["median_duration_ms"], months["p99_duration_ms"]) == (None, None)
    assert (months["estimated"], months["relative_error"]) == (False, None)
    assert (month["estimated"], month["relative_error"]) == (False, 0.0)
    described = shared.client.get("/openapi.json").json()["components"]["schemas"]["SummaryAnswer"]
    assert "no histograms are kept" in described["properties"]["relative_error"]["description"]


def test_a_client_has_a_row_only_when_it_is_one(own: Api) -> None:
    """No row stands for jobs without a client where all have one, and none for initiators without jobs."""
    tenant = own.tenants[0]
    later = {"since": (NOON + 9 * DAY).date(), "until": (NOON + 10 * DAY).date()}
    own.pipeline.plant_tenant("Neighbour")

    clients = own.ask(tenant, "clients", **later).json()["clients"]
    initiators = own.ask(tenant, "initiators", **later).json()["initiators"]

    assert {(row["client_id"], row["has_no_client"], row["total_executions"]) for row in clients} == {
        (str(client), False, 0) for client in tenant.clients
    }
    assert initiators == []


@pytest.mark.parametrize("question", ["summary", *LISTS])
def test_an_answer_costs_one_query_whatever_is_asked(shared: Api, read: list[str], question: str) -> None:
    """Beside completeness and clocks: not one for each row, nor another for percentiles."""
    for named in ({}, {"client": "none"} if question != "clients" else {"initiator": "USER"}):
        read.clear()
        assert shared.ask(shared.tenants[0], question, **RANGE, **named).status_code == 200
        assert len(read) == len(set(read)) == 3
        assert read[:2] == ["completeness", "tenant_metrics/zone_offsets"]


def combinations(tenant: Tenant) -> list[dict[str, str]]:
    """Every way to name some of the three."""
    named = {
        "workflow": (None, *map(str, tenant.workflows)),
        "client": (None, *map(str, tenant.clients), "none"),
        "initiator": (None, "USER", "SCHEDULE", "unknown"),
    }
    return [
        {name: value for name, value in zip(named, values, strict=True) if value is not None}
        for values in product(*named.values())
    ]


def key_of(row: dict[str, Any], kind: str) -> str:
    """How a query names what a row is of."""
    if kind == "initiator":
        return str(row["initiator_type"])
    if kind == "client" and row["has_no_client"]:
        assert (row["client_id"], row["name"]) == (None, None)
        return "none"
    return str(row[f"{kind}_id"])


def truth(api: Api, tenant: Tenant, named: dict[str, str]) -> dict[str, Any]:
    """What the source says of these jobs."""
    values: dict[str, Any] = {"workflow": None, "client": None, "initiator": None} | named
    with api.pipeline.source.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(TRUTH, values | {"organization": tenant.organization}).fetchone()
    assert found
    return found


def assert_equal(found: dict[str, Any], true: dict[str, Any], named: dict[str, str]) -> None:
    """Counts and means are those of the jobs, and so is the median where it is told."""
    assert (found["total_executions"], found["failed_executions"]) == (true["jobs"], true["failed"]), named
    expected = true["average_ms"]
    assert found["average_duration_ms"] == (expected and pytest.approx(expected)), named
    if len(named) == 3:
        assert found["median_duration_ms"] is None
    else:
        assert found["median_duration_ms"] == (expected and pytest.approx(true["median_ms"], rel=0.01)), named
