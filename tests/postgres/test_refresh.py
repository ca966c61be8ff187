"""A refresh brings the stored cells up to date, and touches nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from pipelines.facts.fact_table import open_facts
from tests.support.oracle import ALL, NO_CLIENT, differences
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Tenant, cells, plant_jobs

SECOND = MINUTE / 60


@pytest.mark.every_postgres
def test_the_first_refresh_stores_every_cell(pipeline: Pipeline) -> None:
    """The table is what plain SQL on the source says, for every tenant, and the home holds only the facts.

    The rows held aside between reading and merging are gone when the run ends.
    """
    for name in ("Acme", "Neighbour"):
        plant_a_week(pipeline.source, pipeline.plant_tenant(name))

    report = pipeline.refresh()

    assert pipeline.differences() == []
    assert (report.organizations, report.rows_read, report.facts_inserted) == (2, 56, 56)
    assert report.cells_written == len(pipeline.cells())
    assert report.cells_deleted == 0
    assert [path.name for path in Path(pipeline.settings.home).iterdir()] == ["facts"]


@pytest.mark.every_postgres
def test_the_second_refresh_writes_nothing(pipeline: Pipeline) -> None:
    """Over unchanged data every row stays the very version it was, and the report says 0."""
    plant_a_week(pipeline.source, pipeline.plant_tenant())
    plant_a_week(pipeline.source, pipeline.plant_tenant("Neighbour"))
    pipeline.refresh()
    before = pipeline.row_versions()

    report = pipeline.refresh()

    assert pipeline.row_versions() == before
    assert (report.cells_written, report.cells_deleted) == (0, 0)
    assert (report.facts_inserted, report.facts_updated, report.facts_deleted) == (0, 0, 0)


def test_a_source_without_jobs_is_not_an_error(pipeline: Pipeline) -> None:
    """Without an organization, or without a finished job, there are no cells, again and again."""
    nobody = [pipeline.refresh(), pipeline.refresh()]
    empty, running = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(running, status="RUNNING", completed_at=None)

    report = pipeline.refresh()

    assert [(each.organizations, each.rows_read, each.cells_written) for each in nobody] == [(0, 0, 0)] * 2
    assert (report.cells_written, pipeline.cells()) == (0, {})
    pipeline.plant_job(empty)
    assert pipeline.refresh().cells_written == 27
    assert pipeline.cells(running.organization) == {}


def test_a_late_job_rewrites_only_its_own_cells(pipeline: Pipeline) -> None:
    """A job that arrives a month late costs at most 27 rows; all other rows keep their version."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    plant_a_week(pipeline.source, tenant)
    plant_a_week(pipeline.source, neighbour)
    pipeline.refresh()
    before = pipeline.row_versions()
    pipeline.plant_job(tenant, completed_at=NOON + 2 * DAY, workflow_id=tenant.workflows[1])

    report = pipeline.refresh()

    rewritten = changed(before, pipeline.row_versions())
    assert rewritten
    assert {key[0] for key in rewritten} == {tenant.organization}
    assert rewritten <= own_cells(tenant, NOON + 2 * DAY, tenant.workflows[1], tenant.clients[0], "USER")
    assert len(rewritten) <= 27
    assert (report.cells_written, report.facts_inserted) == (len(rewritten), 1)
    assert pipeline.differences() == []


def test_a_job_is_in_27_cells(pipeline: Pipeline) -> None:
    """The first job of a tenant makes its 4 + 7 + 8 + 8 cells, and the neighbour's are not touched."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    pipeline.refresh()
    before = pipeline.row_versions()
    pipeline.plant_job(tenant)

    report = pipeline.refresh()

    mine = own_cells(tenant, NOON, tenant.workflows[0], tenant.clients[0], "USER")
    assert (report.cells_written, len(mine)) == (27, 27)
    assert set(pipeline.cells(tenant.organization)) == mine
    assert pipeline.row_versions(neighbour.organization) == before


@pytest.mark.every_postgres
def test_a_job_retried_in_place_moves_to_where_it_finished_again(pipeline: Pipeline) -> None:
    """A finished job that runs again leaves its cells; finished again it is counted once, at its new hour."""
    tenant = pipeline.plant_beside_a_neighbour()
    job = pipeline.plant_job(tenant, status="FAILED")
    pipeline.refresh()

    pipeline.change_job(job, status="RUNNING", started_at=NOON + HOUR, completed_at=None)
    while_running = pipeline.refresh()

    assert pipeline.cells(tenant.organization) == {}
    assert while_running.cells_deleted == 27
    pipeline.change_job(job, status="COMPLETED", completed_at=NOON + 2 * HOUR)
    pipeline.refresh()
    total = pipeline.totals(tenant, "hour")[NOON + 2 * HOUR]
    assert (total["total_executions"], total["failed_executions"]) == (1, 0)
    assert total["median_duration_ms"] == 3_600_000
    assert pipeline.differences() == []


def test_a_retry_between_two_refreshes_is_one_change(pipeline: Pipeline) -> None:
    """A retry that nobody saw running still leaves the old hour and enters the new one."""
    tenant = pipeline.plant_beside_a_neighbour()
    job = pipeline.plant_job(tenant, status="FAILED")
    pipeline.refresh()
    pipeline.change_job(job, status="COMPLETED", completed_at=NOON + HOUR)

    report = pipeline.refresh()

    assert (report.facts_updated, report.facts_inserted, report.facts_deleted) == (1, 0, 0)
    # The four cells of the hour it left are gone; day, week and month have it still.
    assert report.cells_deleted == 4
    assert report.cells_written == 27
    assert pipeline.differences() == []


def test_a_soft_deleted_job_leaves_no_ghost(pipeline: Pipeline) -> None:
    """Cells that no job is left in disappear, the others shrink, and undeleting brings all back."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.plant_job(tenant, completed_at=NOON + DAY / 2)
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    before = pipeline.cells()

    pipeline.change_job(job, deleted_at=NOON + DAY)
    pipeline.refresh()

    assert pipeline.differences() == []
    assert not any(key[2] == NOON for key in pipeline.cells(tenant.organization))
    pipeline.change_job(job, deleted_at=None)
    pipeline.refresh()
    assert differences(pipeline.cells(), without_time(before)) == []


@pytest.mark.parametrize("column", ["workflow_id", "client_id", "initiator_type", "organization_id"])
def test_a_reassigned_job_leaves_one_cell_and_enters_another(column: str, pipeline: Pipeline) -> None:
    """Moving a job corrects the cells it left as well as those it entered, in one pass."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour, completed_at=NOON + DAY)
    changes = {
        "workflow_id": {"workflow_id": tenant.workflows[1]},
        "client_id": {"client_id": tenant.clients[1]},
        "initiator_type": {"initiator_type": "SCHEDULE"},
        "organization_id": {
            "organization_id": neighbour.organization,
            "workflow_id": neighbour.workflows[0],
            "client_id": neighbour.clients[0],
        },
    }
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    pipeline.change_job(job, **changes[column])

    pipeline.refresh()

    assert pipeline.differences() == []
    assert len(pipeline.cells(tenant.organization)) == (0 if column == "organization_id" else 27)


def test_a_job_whose_creation_moves_to_another_day_is_counted_once(pipeline: Pipeline) -> None:
    """It should never happen, but the facts would then hold the job under both days."""
    tenant = pipeline.plant_tenant()
    job = pipeline.plant_job(tenant)
    pipeline.plant_job(pipeline.plant_tenant("Neighbour"))
    pipeline.refresh()
    pipeline.change_job(job, created_at=NOON - 40 * DAY)

    pipeline.refresh()

    assert pipeline.totals(tenant, "hour")[NOON]["total_executions"] == 1
    assert open_facts(pipeline.settings).rows == 2


def test_a_change_that_leaves_figures_equal_keeps_their_rows(pipeline: Pipeline) -> None:
    """Two jobs that swap workflows change nothing that is stored, so no row is written.

    A new payload or a new `updated_at` is read, found to be the same job, and left alone in the facts, too.
    """
    tenant = pipeline.plant_beside_a_neighbour()
    same = pipeline.plant_job(tenant)
    first = pipeline.plant_job(tenant, workflow_id=tenant.workflows[0])
    second = pipeline.plant_job(tenant, workflow_id=tenant.workflows[1])
    pipeline.refresh()
    before = pipeline.row_versions()
    pipeline.change_job(same, result=None)
    untouched = pipeline.refresh()
    with pipeline.source.transaction():
        pipeline.change_job(first, workflow_id=tenant.workflows[1])
        pipeline.change_job(second, workflow_id=tenant.workflows[0])

    report = pipeline.refresh()

    assert (untouched.rows_read >= 1, untouched.facts_updated, untouched.cells_written) == (True, 0, 0)
    assert (report.facts_updated, report.cells_written) == (2, 0)
    assert pipeline.row_versions() == before


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("client_id", [None, None, "first"], {NO_CLIENT: 2, "first": 1}),
        ("initiator_type", [None, "unknown", "USER"], {"unknown": 2, "USER": 1}),
    ],
)
def test_null_is_a_group_of_its_own(
    pipeline: Pipeline, column: str, values: list[str | None], expected: dict[Any, int]
) -> None:
    """Apart from the clients and from the total; an initiator NULL shares the cell of a literal `unknown`."""
    tenant = pipeline.plant_beside_a_neighbour()
    named = {"first": tenant.clients[0]}
    pipeline.plant_jobs(tenant, [{column: named.get(value, value)} for value in values])

    pipeline.refresh()

    assert pipeline.totals(tenant, "hour")[NOON]["total_executions"] == 3
    counted = {named.get(key, key): count for key, count in expected.items()}
    assert by_member(pipeline.analytics, tenant, column) == counted
    assert pipeline.differences() == []


def test_a_deleted_client_leaves_its_jobs_to_no_client(pipeline: Pipeline) -> None:
    """A foreign key that sets the client to NULL never touches `updated_at`, and is seen all the same."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.plant_jobs(tenant, [{}, {"client_id": tenant.clients[1]}])
    pipeline.refresh()
    pipeline.source.execute("DELETE FROM orchestration.clients WHERE id = %s", [tenant.clients[0]])

    pipeline.refresh()

    assert by_member(pipeline.analytics, tenant) == {NO_CLIENT: 1, tenant.clients[1]: 1}
    assert pipeline.differences() == []


def test_buckets_begin_on_their_boundary(pipeline: Pipeline) -> None:
    """The last microsecond of a year is in the old hour, day and month; ISO weeks go their own way."""
    tenant = pipeline.plant_beside_a_neighbour()
    new_year = datetime(2025, 1, 1, tzinfo=UTC)
    pipeline.plant_jobs(tenant, [{"completed_at": new_year - SECOND / 1_000_000}, {"completed_at": new_year}])

    pipeline.refresh()

    assert {
        (period, start): cell["total_executions"]
        for period in ("hour", "day", "week", "month")
        for start, cell in pipeline.totals(tenant, period).items()
    } == {
        ("hour", new_year - HOUR): 1,
        ("hour", new_year): 1,
        ("day", new_year - DAY): 1,
        ("day", new_year): 1,
        ("week", datetime(2024, 12, 30, tzinfo=UTC)): 2,
        ("month", datetime(2024, 12, 1, tzinfo=UTC)): 1,
        ("month", new_year): 1,
    }


def test_a_negative_duration_is_counted_but_not_timed(pipeline: Pipeline) -> None:
    """Two honest jobs make the figures; the third is in the counts and in the success rate.

    When no job is timed the total is 0 and every other duration is NULL; 0 ms is honest.
    """
    tenant, untimed, neighbour = map(pipeline.plant_tenant, ("Acme", "Borealis", "Neighbour"))
    pipeline.plant_job(untimed, started_at=NOON + MINUTE)
    pipeline.plant_job(neighbour, started_at=NOON)
    pipeline.plant_jobs(
        tenant,
        [
            {"started_at": NOON - SECOND},
            {"started_at": NOON - 3 * SECOND, "status": "FAILED"},
            {"started_at": NOON + MINUTE},
        ],
    )

    pipeline.refresh()

    total = pipeline.totals(tenant, "hour")[NOON]
    assert (total["total_executions"], total["timed_executions"]) == (3, 2)
    assert total["success_rate_pct"] == pytest.approx(200 / 3, rel=1e-12)
    assert [total[f"{name}_duration_ms"] for name in ("min", "median", "max")] == [1000, 2000, 3000]
    none = pipeline.totals(untimed, "hour")[NOON]
    durations = {name: value for name, value in none.items() if name.endswith("duration_ms")}
    assert durations.pop("total_duration_ms") == 0
    assert len(durations) == 9
    assert set(durations.values()) == {None}
    assert pipeline.totals(neighbour, "hour")[NOON]["median_duration_ms"] == 0


def test_an_absurdly_long_job_does_not_stop_the_others(pipeline: Pipeline) -> None:
    """A clock of 1854 makes durations that doubles round; all is published, in order all the same."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    began = NOON - timedelta(microseconds=5_375_316_786_149_530)
    pipeline.plant_jobs(tenant, [{"started_at": began}] * 6)
    pipeline.plant_job(tenant, started_at=began - SECOND / 1_000_000)
    pipeline.plant_job(neighbour)

    pipeline.refresh()

    assert pipeline.differences() == []


@pytest.mark.every_postgres
def test_names_are_copied_with_the_metrics(pipeline: Pipeline) -> None:
    """Dashboards find the names of organizations, workflows and clients, and see them change."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.refresh()
    for table, row in (
        ("organizations", tenant.organization),
        ("workflows", tenant.workflows[0]),
        ("clients", tenant.clients[0]),
    ):
        pipeline.source.execute(
            f"UPDATE orchestration.{table} SET name = 'Renamed', deleted_at = %s WHERE id = %s", [NOON, row]
        )

    report = pipeline.refresh()

    assert report.cells_written == 0
    for table in ("organizations", "workflows", "clients"):
        copied = pipeline.select(f"SELECT * FROM analytics.{table} ORDER BY id")
        columns = "id, name, time_zone, deleted_at" if table == "organizations" else ""
        columns = columns or "id, organization_id, name, deleted_at"
        original = pipeline.source.execute(
            f"SELECT {columns} FROM orchestration.{table} ORDER BY id"
        ).fetchall()
        assert copied == original
        assert sum("Renamed" in row for row in copied) == 1
    assert neighbour.organization in {
        row[0] for row in pipeline.analytics.execute("SELECT id FROM analytics.organizations")
    }


def test_a_restricted_refresh_leaves_the_others_alone(pipeline: Pipeline) -> None:
    """With an organization named, nobody else's row or name is written, and the next full pass catches up."""
    tenant, neighbour = pipeline.plant_pair()
    pipeline.refresh()
    before = pipeline.row_versions(neighbour.organization)
    pipeline.plant_job(tenant)
    pipeline.plant_job(neighbour)
    pipeline.source.execute("UPDATE orchestration.organizations SET name = 'Renamed'")

    report = pipeline.refresh(organization_ids=[tenant.organization])

    assert (report.organizations, report.rows_read, report.facts_inserted) == (1, 1, 1)
    assert pipeline.row_versions(neighbour.organization) == before
    assert pipeline.totals(tenant, "hour")[NOON]["total_executions"] == 2
    names = dict(pipeline.select("SELECT id, name FROM analytics.organizations"))
    assert names == {tenant.organization: "Renamed", neighbour.organization: "Neighbour"}
    pipeline.refresh()
    assert pipeline.differences() == []


def test_a_restricted_refresh_may_be_the_first(pipeline: Pipeline) -> None:
    """One organization can be published before anybody else; the others follow when asked for."""
    tenant, _ = pipeline.plant_pair()

    pipeline.refresh(organization_ids=[tenant.organization])

    assert {key[0] for key in pipeline.cells()} == {tenant.organization}
    pipeline.refresh()
    assert pipeline.differences() == []


def plant_a_week(source: Connection, tenant: Tenant) -> None:
    """Insert jobs of every workflow, with and without clients, over a week that crosses a month."""
    plant_jobs(
        source,
        tenant,
        [
            {
                "completed_at": (ended := NOON + day * DAY + number * HOUR),
                "started_at": ended - (1 + 7 * number) * SECOND,
                "workflow_id": tenant.workflows[number % 2],
                "client_id": (*tenant.clients, None)[(day + number) % 3],
                "initiator_type": ("USER", None)[day % 2],
                "status": "FAILED" if (day + number) % 5 == 0 else "COMPLETED",
            }
            for day in range(7)
            for number in range(4)
        ],
    )


def changed(before: dict, after: dict) -> set:
    """The keys of the rows that were written, added or removed."""
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def own_cells(tenant: Tenant, completed_at: datetime, workflow: UUID, client: UUID, initiator: str) -> set:
    """The keys of the 27 cells that a job is in."""
    day = completed_at.replace(hour=0)
    starts = {
        "hour": completed_at,
        "day": day,
        "week": day - day.weekday() * DAY,
        "month": day.replace(day=1),
    }
    broken_down = {"hour": 1, "day": 2, "week": 3, "month": 3}
    return {
        (tenant.organization, period, start, one, another, third)
        for period, start in starts.items()
        for one in (workflow, ALL)
        for another in (client, ALL)
        for third in (initiator, "all")
        if (one != ALL) + (another != ALL) + (third != "all") <= broken_down[period]
    }


def by_member(analytics: Connection, tenant: Tenant, column: str = "client_id") -> dict[Any, int]:
    """How many jobs each client, or initiator, has in the hours' cells."""
    place, every = {"client_id": (4, ALL), "initiator_type": (5, "all")}[column]
    hours = ((key, cell) for key, cell in cells(analytics, tenant.organization).items() if key[1] == "hour")
    return {key[place]: cell["total_executions"] for key, cell in hours if key[place] != every}


def without_time(stored: dict) -> dict:
    """Cells without the time at which they were computed."""
    return {
        key: {name: value for name, value in cell.items() if name != "computed_at"}
        for key, cell in stored.items()
    }
