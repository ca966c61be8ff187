"""A refresh brings the stored cells up to date, and touches nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from pipelines.facts.fact_table import open_facts
from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings
from tests.support.oracle import ALL, NO_CLIENT, cells_by_sql, differences
from tests.support.planting import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    Tenant,
    cells,
    change_job,
    plant_job,
    plant_jobs,
    plant_tenant,
    row_versions,
)

SECOND = MINUTE / 60


@pytest.mark.every_postgres
def test_the_first_refresh_stores_every_cell(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """After the first pass the table is what plain SQL on the source says, for every tenant."""
    for name in ("Acme", "Neighbour"):
        plant_a_week(source, plant_tenant(source, name))

    report = refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert (report.organizations, report.rows_read, report.facts_inserted) == (2, 56, 56)
    assert report.cells_written == len(cells(analytics))
    assert report.cells_deleted == 0


@pytest.mark.every_postgres
def test_the_second_refresh_writes_nothing(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Over unchanged data every row stays the very version it was, and the report says 0."""
    plant_a_week(source, plant_tenant(source))
    plant_a_week(source, plant_tenant(source, "Neighbour"))
    refresh(databases, settings)
    before = row_versions(analytics)

    report = refresh(databases, settings)

    assert row_versions(analytics) == before
    assert (report.cells_written, report.cells_deleted) == (0, 0)
    assert (report.facts_inserted, report.facts_updated, report.facts_deleted) == (0, 0, 0)


def test_a_source_without_jobs_is_not_an_error(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """An organization without a finished job has no cells, before and after its first one."""
    empty, running = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, running, status="RUNNING", completed_at=None)

    report = refresh(databases, settings)

    assert (report.cells_written, cells(analytics)) == (0, {})
    plant_job(source, empty)
    assert refresh(databases, settings).cells_written == 27
    assert cells(analytics, running.organization) == {}


def test_a_refresh_without_organizations_does_nothing(databases: Databases, settings: Settings) -> None:
    """An empty source is refreshed without complaint, again and again."""
    first, second = refresh(databases, settings), refresh(databases, settings)

    assert (first.organizations, first.rows_read, first.cells_written) == (0, 0, 0)
    assert (second.organizations, second.rows_read, second.cells_written) == (0, 0, 0)


def test_a_late_job_rewrites_only_its_own_cells(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A job that arrives a month late costs at most 27 rows; all other rows keep their version."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_a_week(source, tenant)
    plant_a_week(source, neighbour)
    refresh(databases, settings)
    before = row_versions(analytics)
    plant_job(source, tenant, completed_at=NOON + 2 * DAY, workflow_id=tenant.workflows[1])

    report = refresh(databases, settings)

    rewritten = changed(before, row_versions(analytics))
    assert rewritten
    assert {key[0] for key in rewritten} == {tenant.organization}
    assert rewritten <= own_cells(tenant, NOON + 2 * DAY, tenant.workflows[1], tenant.clients[0], "USER")
    assert len(rewritten) <= 27
    assert (report.cells_written, report.facts_inserted) == (len(rewritten), 1)
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_job_is_in_27_cells(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The first job of a tenant makes its 4 + 7 + 8 + 8 cells, and the neighbour's are not touched."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, neighbour)
    refresh(databases, settings)
    before = row_versions(analytics)
    plant_job(source, tenant)

    report = refresh(databases, settings)

    mine = own_cells(tenant, NOON, tenant.workflows[0], tenant.clients[0], "USER")
    assert (report.cells_written, len(mine)) == (27, 27)
    assert set(cells(analytics, tenant.organization)) == mine
    assert row_versions(analytics, neighbour.organization) == before


@pytest.mark.every_postgres
def test_a_job_retried_in_place_moves_to_where_it_finished_again(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A finished job that runs again leaves its cells; finished again it is counted once, at its new hour."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    job = plant_job(source, tenant, status="FAILED")
    refresh(databases, settings)

    change_job(source, job, status="RUNNING", started_at=NOON + HOUR, completed_at=None)
    while_running = refresh(databases, settings)

    assert cells(analytics, tenant.organization) == {}
    assert while_running.cells_deleted == 27
    change_job(source, job, status="COMPLETED", completed_at=NOON + 2 * HOUR)
    refresh(databases, settings)
    total = hour_total(analytics, tenant, NOON + 2 * HOUR)
    assert (total["total_executions"], total["failed_executions"]) == (1, 0)
    assert total["median_duration_ms"] == 3_600_000
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_retry_between_two_refreshes_is_one_change(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A retry that nobody saw running still leaves the old hour and enters the new one."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    job = plant_job(source, tenant, status="FAILED")
    refresh(databases, settings)
    change_job(source, job, status="COMPLETED", completed_at=NOON + HOUR)

    report = refresh(databases, settings)

    assert (report.facts_updated, report.facts_inserted, report.facts_deleted) == (1, 0, 0)
    # The four cells of the hour it left are gone; day, week and month have it still.
    assert report.cells_deleted == 4
    assert report.cells_written == 27
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_soft_deleted_job_leaves_no_ghost(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Cells that no job is left in disappear, the others shrink, and undeleting brings all back."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    plant_job(source, tenant, completed_at=NOON + DAY / 2)
    job = plant_job(source, tenant)
    refresh(databases, settings)
    before = cells(analytics)

    change_job(source, job, deleted_at=NOON + DAY)
    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert not any(key[2] == NOON for key in cells(analytics, tenant.organization))
    change_job(source, job, deleted_at=None)
    refresh(databases, settings)
    assert differences(cells(analytics), without_time(before)) == []


@pytest.mark.parametrize("dimension", ["workflow_id", "client_id", "initiator_type"])
def test_a_reassigned_job_leaves_one_cell_and_enters_another(
    dimension: str,
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
) -> None:
    """Moving a job corrects the cell it left as well as the one it entered."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    elsewhere = {
        "workflow_id": tenant.workflows[1],
        "client_id": tenant.clients[1],
        "initiator_type": "SCHEDULE",
    }
    job = plant_job(source, tenant)
    refresh(databases, settings)
    change_job(source, job, **{dimension: elsewhere[dimension]})

    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert len(cells(analytics, tenant.organization)) == 27


def test_a_job_that_moves_to_another_organization_is_counted_there_alone(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The organization it left loses its cells in the same pass as the other gains them."""
    tenant, other = plant_tenant(source), plant_tenant(source, "Neighbour")
    job = plant_job(source, tenant)
    plant_job(source, other, completed_at=NOON + DAY)
    refresh(databases, settings)
    change_job(
        source,
        job,
        organization_id=other.organization,
        workflow_id=other.workflows[0],
        client_id=other.clients[0],
    )

    refresh(databases, settings)

    assert cells(analytics, tenant.organization) == {}
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_job_whose_creation_moves_to_another_day_is_counted_once(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """It should never happen, but the facts would then hold the job under both days."""
    tenant = plant_tenant(source)
    job = plant_job(source, tenant)
    plant_job(source, plant_tenant(source, "Neighbour"))
    refresh(databases, settings)
    change_job(source, job, created_at=NOON - 40 * DAY)

    refresh(databases, settings)

    assert hour_total(analytics, tenant, NOON)["total_executions"] == 1
    assert open_facts(settings).rows == 2


def test_an_update_that_changes_no_figure_writes_nothing(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A new payload or a new `updated_at` is read, found to be the same job, and left alone."""
    tenant = plant_tenant(source)
    job = plant_job(source, tenant)
    plant_job(source, plant_tenant(source, "Neighbour"))
    refresh(databases, settings)
    before = row_versions(analytics)
    change_job(source, job, result=None)

    report = refresh(databases, settings)

    assert report.rows_read >= 1
    assert (report.cells_written, report.facts_updated) == (0, 0)
    assert row_versions(analytics) == before


def test_a_change_that_leaves_figures_equal_keeps_their_rows(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Two jobs that swap workflows change nothing that is stored, so no row is written."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    first = plant_job(source, tenant, workflow_id=tenant.workflows[0])
    second = plant_job(source, tenant, workflow_id=tenant.workflows[1])
    refresh(databases, settings)
    before = row_versions(analytics)
    with source.transaction():
        change_job(source, first, workflow_id=tenant.workflows[1])
        change_job(source, second, workflow_id=tenant.workflows[0])

    report = refresh(databases, settings)

    assert (report.facts_updated, report.cells_written) == (2, 0)
    assert row_versions(analytics) == before


def test_a_job_without_a_client_counts_as_no_client(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """NULL is a group of its own, apart from the clients and apart from the total."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    plant_jobs(source, tenant, [{"client_id": None}, {"client_id": None, "status": "FAILED"}, {}])

    refresh(databases, settings)

    assert hour_total(analytics, tenant, NOON)["total_executions"] == 3
    assert by_client(analytics, tenant) == {NO_CLIENT: 2, tenant.clients[0]: 1}
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_deleted_client_leaves_its_jobs_to_no_client(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A foreign key that sets the client to NULL never touches `updated_at`, and is seen all the same."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    plant_jobs(source, tenant, [{}, {"client_id": tenant.clients[1]}])
    refresh(databases, settings)
    source.execute("DELETE FROM orchestration.clients WHERE id = %s", [tenant.clients[0]])

    refresh(databases, settings)

    assert by_client(analytics, tenant) == {NO_CLIENT: 1, tenant.clients[1]: 1}
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_an_initiator_called_unknown_shares_the_cell_of_null(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """NULL is counted under `unknown`, together with a literal one; both are still in the total."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    plant_jobs(source, tenant, [{"initiator_type": None}, {"initiator_type": "unknown"}, {}])

    refresh(databases, settings)

    counted = {
        key[5]: cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if key[1] == "hour" and key[5] != "all"
    }
    assert counted == {"unknown": 2, "USER": 1}
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_buckets_begin_on_their_boundary(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The last microsecond of a year is in the old hour, day and month; ISO weeks go their own way."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    new_year = datetime(2025, 1, 1, tzinfo=UTC)
    plant_jobs(source, tenant, [{"completed_at": new_year - SECOND / 1_000_000}, {"completed_at": new_year}])

    refresh(databases, settings)

    totals = {
        (key[1], key[2]): cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if key[3:] == (ALL, ALL, "all")
    }
    assert totals == {
        ("hour", new_year - HOUR): 1,
        ("hour", new_year): 1,
        ("day", new_year - DAY): 1,
        ("day", new_year): 1,
        ("week", datetime(2024, 12, 30, tzinfo=UTC)): 2,
        ("month", datetime(2024, 12, 1, tzinfo=UTC)): 1,
        ("month", new_year): 1,
    }


def test_a_negative_duration_is_counted_but_not_timed(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Two honest jobs make the figures; the third is in the counts and in the success rate."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    plant_jobs(
        source,
        tenant,
        [
            {"started_at": NOON - SECOND},
            {"started_at": NOON - 3 * SECOND, "status": "FAILED"},
            {"started_at": NOON + MINUTE},
        ],
    )

    refresh(databases, settings)

    total = hour_total(analytics, tenant, NOON)
    assert (total["total_executions"], total["timed_executions"]) == (3, 2)
    assert total["success_rate_pct"] == pytest.approx(200 / 3, rel=1e-12)
    assert (total["min_duration_ms"], total["median_duration_ms"], total["max_duration_ms"]) == (
        1000,
        2000,
        3000,
    )


def test_a_cell_without_an_honest_duration_has_no_durations(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """When no job is timed the total is 0 and every other duration is NULL; 0 ms is honest."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant, started_at=NOON + MINUTE)
    plant_job(source, neighbour, started_at=NOON)

    refresh(databases, settings)

    total = hour_total(analytics, tenant, NOON)
    durations = {name: value for name, value in total.items() if name.endswith("duration_ms")}
    assert durations.pop("total_duration_ms") == 0
    assert len(durations) == 9
    assert set(durations.values()) == {None}
    assert hour_total(analytics, neighbour, NOON)["median_duration_ms"] == 0


def test_an_absurdly_long_job_does_not_stop_the_others(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A clock of 1854 makes durations that doubles round; all is published, in order all the same."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    began = NOON - timedelta(microseconds=5_375_316_786_149_530)
    plant_jobs(source, tenant, [{"started_at": began}] * 6)
    plant_job(source, tenant, started_at=began - SECOND / 1_000_000)
    plant_job(source, neighbour)

    refresh(databases, settings)

    assert differences(cells(analytics), cells_by_sql(source)) == []


@pytest.mark.every_postgres
def test_names_are_copied_with_the_metrics(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Dashboards find the names of organizations, workflows and clients, and see them change."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    refresh(databases, settings)
    for table, row in (
        ("organizations", tenant.organization),
        ("workflows", tenant.workflows[0]),
        ("clients", tenant.clients[0]),
    ):
        source.execute(
            f"UPDATE orchestration.{table} SET name = 'Renamed', deleted_at = %s WHERE id = %s", [NOON, row]
        )

    report = refresh(databases, settings)

    assert report.cells_written == 0
    for table in ("organizations", "workflows", "clients"):
        copied = analytics.execute(f"SELECT * FROM analytics.{table} ORDER BY id").fetchall()
        columns = "id, name, time_zone, deleted_at" if table == "organizations" else ""
        columns = columns or "id, organization_id, name, deleted_at"
        original = source.execute(f"SELECT {columns} FROM orchestration.{table} ORDER BY id").fetchall()
        assert copied == original
        assert sum("Renamed" in row for row in copied) == 1
    assert neighbour.organization in {
        row[0] for row in analytics.execute("SELECT id FROM analytics.organizations")
    }


@pytest.mark.every_postgres
def test_a_row_that_commits_late_is_not_missed(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A transaction that was open during a refresh is read by the next one, whatever its `updated_at`."""
    tenant = plant_tenant(source)
    with psycopg.connect(databases.source_url) as slow, slow.transaction():
        plant_job(slow, tenant, updated_at=NOON - 30 * DAY)
        plant_job(source, tenant, completed_at=NOON + DAY)
        refresh(databases, settings)
        missing = hour_total(analytics, tenant, NOON)

    refresh(databases, settings)

    assert missing == {}
    assert hour_total(analytics, tenant, NOON)["total_executions"] == 1
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_restricted_refresh_leaves_the_others_alone(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """With an organization named, nobody else's row is written, and the next full pass catches up."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_job(source, neighbour)
    refresh(databases, settings)
    before = row_versions(analytics, neighbour.organization)
    plant_job(source, tenant)
    plant_job(source, neighbour)

    report = refresh(databases, settings, organization_ids=[tenant.organization])

    assert (report.organizations, report.rows_read, report.facts_inserted) == (1, 1, 1)
    assert row_versions(analytics, neighbour.organization) == before
    assert hour_total(analytics, tenant, NOON)["total_executions"] == 2
    refresh(databases, settings)
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_restricted_refresh_copies_no_other_names(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Not even the name of a neighbour changes before the neighbour is refreshed."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    refresh(databases, settings)
    source.execute("UPDATE orchestration.organizations SET name = 'Renamed'")

    refresh(databases, settings, organization_ids=[tenant.organization])

    names = dict(analytics.execute("SELECT id, name FROM analytics.organizations").fetchall())
    assert names == {tenant.organization: "Renamed", neighbour.organization: "Neighbour"}


def test_a_restricted_refresh_may_be_the_first(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """One organization can be published before anybody else; the others follow when asked for."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_job(source, neighbour)

    refresh(databases, settings, organization_ids=[tenant.organization])

    assert {key[0] for key in cells(analytics)} == {tenant.organization}
    refresh(databases, settings)
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_run_that_dies_while_publishing_loses_nothing(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Until the one commit readers see the old cells; the next run publishes what the first had merged."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    plant_job(source, tenant)
    refresh(databases, settings)
    before = row_versions(analytics)
    plant_job(source, tenant)

    with pytest.raises(KeyboardInterrupt):
        refresh(databases, settings, on_progress=die_while_publishing)

    assert row_versions(analytics) == before
    refresh(databases, settings)
    assert hour_total(analytics, tenant, NOON)["total_executions"] == 2
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_nothing_is_left_in_the_home_but_the_facts(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """The rows held aside between reading and merging are gone when the run ends."""
    plant_job(source, plant_tenant(source))

    refresh(databases, settings)

    assert [path.name for path in Path(settings.home).iterdir()] == ["facts"]


def plant_a_week(source: psycopg.Connection, tenant: Tenant) -> None:
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


def hour_total(analytics: psycopg.Connection, tenant: Tenant, start: datetime) -> dict:
    """The figures of an hour over all dimensions; nothing when there is no such cell."""
    key = (tenant.organization, "hour", start, ALL, ALL, "all")
    return cells(analytics, tenant.organization).get(key, {})


def by_client(analytics: psycopg.Connection, tenant: Tenant) -> dict[UUID, int]:
    """How many jobs each client has in the hours' cells."""
    return {
        key[4]: cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if key[1] == "hour" and key[4] != ALL
    }


def without_time(stored: dict) -> dict:
    """Cells without the time at which they were computed."""
    return {
        key: {name: value for name, value in cell.items() if name != "computed_at"}
        for key, cell in stored.items()
    }


def die_while_publishing(stage: str, _rows: int) -> None:
    """Interrupt a run once cells are on their way."""
    if stage == "publish":
        raise KeyboardInterrupt
