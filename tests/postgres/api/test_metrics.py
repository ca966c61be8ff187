"""Stored rows, page by page: what the table has, each once, and only what is kept."""

import itertools
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipelines.subjects.dimensions import NO_CLIENT
from pipelines.subjects.jobs import JOBS
from tests.postgres.api.conftest import RANGE, Api, opened
from tests.support.oracle import ALL
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, MINUTE, Tenant

APRIL = datetime(2024, 4, 1, tzinfo=UTC)
MONTHS = {"since": "2024-01-01", "until": "2024-03-01", "period": "month"}
CUBE = MONTHS | {"workflow": "each", "client": "each", "initiator": "each"}


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_pages_hold_every_row_once(shared: Api, rows: int) -> None:
    """Whatever the size of a page, its `next` leads on until there is none, in the order of the keys."""
    tenant = shared.tenants[2]
    pages = list(paged(shared, tenant, "metrics", CUBE | {"limit": rows}))

    found = [key(row) for page in pages for row in page["rows"]]
    cells = shared.pipeline.cells(tenant.organization)
    # Broken down by every dimension.
    stored = {name[2:] for name in cells if name[1] == "month" and ALL not in name[3:5] and name[5] != "all"}

    assert len(found) == len(set(found)) == len(stored)
    assert found == sorted(found)
    assert {len(page["rows"]) for page in pages[:-1]} <= {rows}
    assert all(page["next"] is None for page in pages[-1:])


def test_the_last_page_knows_that_it_is(shared: Api) -> None:
    """A page that ends with the last row leads nowhere, even if it is as long as was asked for."""
    whole = shared.ask(shared.tenants[1], "metrics", **CUBE).json()["rows"]

    page = shared.ask(shared.tenants[1], "metrics", **CUBE, limit=len(whole)).json()

    assert (page["rows"], page["next"]) == (whole, None)


def test_the_next_page_is_linked(shared: Api) -> None:
    """The header leads on as well, for CSV has no other place for it."""
    first = shared.ask(shared.tenants[1], "metrics", **CUBE, limit=2)
    target = first.links["next"]["url"]

    linked = shared.client.get(
        f"{first.request.url.path}{target}", headers={"Authorization": first.request.headers["Authorization"]}
    )
    asked = shared.ask(shared.tenants[1], "metrics", **CUBE, limit=2, after=first.json()["next"])

    assert linked.json() == asked.json()
    assert len(asked.json()["rows"]) == 2


@pytest.mark.parametrize(("question", "many"), [("workflows", 2), ("clients", 3), ("initiators", 3)])
def test_names_come_in_pages_too(shared: Api, question: str, many: int) -> None:
    """One at a time they are the same as all at once; what is no longer there leads nowhere."""
    tenant = shared.tenants[0]
    whole = shared.ask(tenant, question, **RANGE).json()[question]

    pages = list(paged(shared, tenant, question, RANGE | {"limit": 1}))
    lost = shared.ask(tenant, question, **RANGE, after=tenant.organization)

    assert [each for page in pages for each in page[question]] == whole
    assert len(pages) == len(whole) == many
    assert lost.status_code == 422


def test_dimensions_are_all_or_each_or_one(shared: Api) -> None:
    """Left out, everything is together; `each` is a row each; an id, a word or `none` is that one."""
    tenant = shared.tenants[2]

    def counted(**dimensions: Any) -> list[tuple[Any, ...]]:
        rows = shared.ask(tenant, "metrics", **MONTHS, **dimensions).json()["rows"]
        return [(*key(row)[1:], row["total_executions"]) for row in rows]

    by_client = counted(client="each")
    without = [each for each in by_client if each[1] == str(NO_CLIENT)]
    named = [each for each in by_client if each[1] != str(NO_CLIENT)]

    assert sum(each[-1] for each in counted()) == sum(each[-1] for each in by_client) == 42
    assert {each[1] for each in named} == {str(client) for client in tenant.clients}
    assert counted(client="none") == without
    assert counted(client=tenant.clients[0]) == [each for each in named if each[1] == str(tenant.clients[0])]
    assert {each[2] for each in counted(initiator="each")} == {"USER", "SCHEDULE", "unknown"}
    assert {each[2] for each in counted(initiator="SCHEDULE")} == {"SCHEDULE"}
    assert {each[0] for each in counted(workflow=tenant.workflows[1])} == {str(tenant.workflows[1])}
    assert counted(initiator="nobody") == []


def test_only_the_measures_asked_for_are_told(shared: Api) -> None:
    """In the order of the table, each once; and all of them without asking."""
    tenant = shared.tenants[0]

    some = shared.ask(tenant, "metrics", **MONTHS, measures="p95_duration_ms,total_executions")
    every = shared.ask(tenant, "metrics", **MONTHS)

    assert some.json()["measures"] == ["total_executions", "p95_duration_ms"]
    figures = [name for name in some.json()["rows"][0] if name in JOBS.measure_columns]
    assert figures == ["total_executions", "p95_duration_ms"]
    assert every.json()["measures"] == list(JOBS.measure_columns)
    assert set(JOBS.measure_columns) < set(every.json()["rows"][0])


def test_what_is_not_kept_is_refused_not_empty(shared: Api) -> None:
    """An hour by workflow and client is stored for nobody, so no rows would be a wrong answer."""
    refused = shared.ask(shared.tenants[0], "metrics", **RANGE, period="hour", workflow="each", client="none")

    assert refused.status_code == 422
    assert refused.json()["title"] == "Range not stored"
    assert "days, weeks, months" in refused.json()["detail"]


def test_a_summary_says_whether_it_is_exact(own: Api) -> None:
    """A day has its stored percentiles; some hours of it are estimated, and how far off they may be."""
    tenant = own.tenants[0]
    own.pipeline.plant_job(tenant)

    day = own.ask(tenant, "summary", since="2024-01-31", until="2024-02-01").json()
    hours = own.ask(tenant, "summary", since="2024-01-31T10:00:00Z", until="2024-01-31T15:00:00+02:00").json()

    assert (day["estimated"], day["relative_error"]) == (False, 0.0)
    assert hours["estimated"]
    assert 0 < hours["relative_error"] < 0.01
    assert hours["until"] == "2024-01-31T13:00:00Z"
    same = ("total_executions", "timed_executions", "average_duration_ms", "max_duration_ms")
    assert [day[name] for name in same] == [hours[name] for name in same]
    assert hours["p95_duration_ms"] == pytest.approx(day["p95_duration_ms"], rel=0.01)


def test_a_date_is_the_organizations_own_day(pipeline: Pipeline) -> None:
    """A month by dates is the stored month, exact, and the sum of its days, whatever its clocks did.

    So is what the answer says of its instants, and a neighbour in another zone has another month.
    """
    zones = {"Pacific/Chatham": pipeline.plant_tenant(), "UTC": pipeline.plant_tenant("Neighbour")}
    for zone, tenant in zones.items():
        pipeline.live_in(tenant, zone)
        moments = [APRIL - DAY + number * (DAY / 4 - MINUTE) for number in range(130)]
        lasting = [(at, at - number * MINUTE) for number, at in enumerate(moments)]
        pipeline.plant_jobs(tenant, [{"completed_at": end, "started_at": begun} for end, begun in lasting])
    pipeline.refresh()
    stored = dict(
        pipeline.select(
            "SELECT organization_id, total_executions FROM analytics.aggregate_metrics"
            " WHERE period = 'month' AND period_start BETWEEN '2024-03-30Z' AND '2024-04-02Z'"
            " AND (workflow_id, client_id, initiator_type) = (%s, %s, 'all')",
            [ALL, ALL],
        )
    )
    month = {"since": "2024-04-01", "until": "2024-05-01"}
    clocks = {"since": "2024-04-01T00:00:00", "until": "2024-05-01"}

    with opened(pipeline) as api:
        for zone, tenant in zones.items():
            whole = api.ask(tenant, "summary", **month).json()
            instants = {name: whole[name] for name in month}
            days = [str((APRIL + number * DAY).date()) for number in range(31)]
            each = [
                api.ask(tenant, "summary", since=first, until=last).json()
                for first, last in itertools.pairwise(days)
            ]
            rows = api.ask(tenant, "metrics", **month, period="day").json()["rows"]

            clock = ZoneInfo(zone)
            true = [at for at in moments if at.astimezone(clock).month == 4]
            midnight = datetime(2024, 4, 1, tzinfo=clock).astimezone(UTC)
            assert whole["total_executions"] == stored[tenant.organization] == len(true)
            assert (whole["estimated"], whole["relative_error"]) == (False, 0.0)
            assert not any(day["estimated"] for day in each)
            assert [day["total_executions"] for day in each] == [row["total_executions"] for row in rows]
            assert sum(day["total_executions"] for day in each) == len(true)
            assert whole == api.ask(tenant, "summary", **clocks).json()
            assert whole == api.ask(tenant, "summary", **instants).json()
            assert whole["since"] == midnight.isoformat().replace("+00:00", "Z")
            for kind in ("workflows", "clients", "initiators"):
                listed = api.ask(tenant, kind, **month).json()
                assert sum(one["total_executions"] for one in listed[kind]) == len(true)
    assert len(set(stored.values())) == 2


def paged(api: Api, tenant: Tenant, question: str, asked: dict[str, Any]) -> Any:
    """Every page of an answer."""
    page = api.ask(tenant, question, **asked).json()
    been = set()
    yield page
    while page["next"]:
        assert page["next"] not in been
        been.add(page["next"])
        page = api.ask(tenant, question, **asked, after=page["next"]).json()
        yield page


def key(row: dict[str, Any]) -> tuple[str, ...]:
    """The stored key of a row."""
    client = str(NO_CLIENT) if row["has_no_client"] else row["client_id"]
    return row["period_start"], row["workflow_id"], client, row["initiator_type"]
