"""A reconcile makes a range equal the source again, hard deletes included, and nothing outside it."""

from datetime import datetime
from uuid import UUID

import psycopg
import pytest

from pipelines.errors import InvalidRange, UnknownOrganization
from pipelines.fault_points import FaultPoint
from pipelines.postgres.connections import Databases
from pipelines.runs.dry_run import dry_run as preview
from pipelines.runs.refresh import reconcile, refresh
from pipelines.runs.status import status
from pipelines.settings import Settings, Tier
from tests.support.faults.runs import recorded
from tests.support.oracle import ALL, cells_by_sql, differences
from tests.support.planting import (
    DAY,
    MINUTE,
    NOON,
    Tenant,
    cells,
    change_job,
    listed,
    new_id,
    plant_job,
    plant_jobs,
    plant_tenant,
    row_versions,
    without_constraints,
)
from tests.support.restatement_oracle import figures, restated


def test_what_searches_by_index_does_not_see_hard_deletes_and_a_reconcile_does(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A row that is gone leaves nothing to read, so only the comparison with the facts finds it."""
    settings = settings.model_copy(update={"extraction": Tier.INDEXED})
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, neighbour)
    job = plant_job(source, tenant)
    refresh(databases, settings)
    neighbours = row_versions(analytics, neighbour.organization)
    delete(source, job)
    refresh(databases, settings)
    still_there = days(analytics, tenant)

    report = reconcile(databases, settings, since=NOON - DAY, until=NOON + DAY)

    assert len(still_there) == 1
    assert cells(analytics, tenant.organization) == {}
    assert (report.facts_deleted, report.cells_deleted) == (1, 27)
    assert row_versions(analytics, neighbour.organization) == neighbours
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_refresh_heals_hard_deletes(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The sweep counts what it looks through, so a row that is gone is missed, whatever came in its place."""
    without_constraints(source)
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, neighbour)
    plant_job(source, neighbour, status="RUNNING", completed_at=None)
    kept, gone, replaced = plant_jobs(source, tenant, [{}, {"created_at": NOON - DAY}, {}])
    spoilt = plant_job(source, tenant, status="ARCHIVED")
    backwards = plant_job(source, tenant, started_at=NOON + MINUTE)
    refresh(databases, settings)
    neighbours = row_versions(analytics, neighbour.organization)
    delete(source, gone)
    alone = refresh(databases, settings)
    one_less = differences(cells(analytics), cells_by_sql(source))

    delete(source, replaced)
    plant_job(source, tenant)
    change_job(source, kept, status="FAILED")
    delete(source, spoilt, backwards)
    together = refresh(databases, settings)

    assert (alone.facts_deleted, one_less) == (1, [])
    assert (together.facts_deleted, together.facts_inserted, together.facts_updated) == (2, 1, 1)
    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert listed(analytics) == set()
    assert row_versions(analytics, neighbour.organization) == neighbours
    source.execute("DELETE FROM orchestration.jobs")
    assert refresh(databases, settings).facts_deleted == 3
    assert cells(analytics) == {}
    nothing = refresh(databases, settings)
    assert (nothing.rows_read, nothing.cells_written, nothing.cells_deleted) == (0, 0, 0)


def test_what_is_accounted_for_is_not_compared(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """New, edited, spoilt, repaired and soft-deleted jobs leave the count right: no checksum is compared."""
    without_constraints(source)
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    edited, deleted, spoilt, retried = plant_jobs(source, tenant, [{}] * 4)
    repaired = plant_job(source, tenant, status="ARCHIVED")
    refresh(databases, settings)
    plant_job(source, tenant)
    change_job(source, edited, status="FAILED")
    change_job(source, deleted, deleted_at=NOON)
    change_job(source, spoilt, status="ARCHIVED")
    change_job(source, retried, status="RUNNING", completed_at=None)
    change_job(source, repaired, status="COMPLETED")

    with recorded() as passed:
        refresh(databases, settings)

    assert FaultPoint.CENSUS_READ in passed
    assert FaultPoint.CHECKSUMS_READ not in passed


def test_too_many_deletes_are_withheld_by_a_refresh_and_stand(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The others go on, the next refresh publishes what else happens, and who accepts is rid of them."""
    settings = settings.model_copy(update={"tolerated_failures_pct": 50})
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, neighbour)
    jobs = plant_jobs(source, tenant, [{}] * 1_001)
    refresh(databases, settings)
    delete(source, *jobs[1:])

    withheld = refresh(databases, settings)
    late = plant_job(source, tenant)
    standing = refresh(databases, settings)

    assert [each.error_class for each in withheld.failed] == ["DeletesNotAccepted"]
    assert (standing.failed, standing.facts_deleted, standing.facts_inserted) == ((), 0, 1)
    assert sum(totals(analytics, tenant)) == 1_002
    failing = {each.organization_id: each.failing for each in status(databases, settings).organizations}
    assert failing == {tenant.organization: "DeletesNotAccepted", neighbour.organization: None}
    reconcile(databases, settings, since=NOON - DAY, until=NOON + DAY, accept_deletes=True)
    assert differences(cells(analytics), cells_by_sql(source)) == []
    delete(source, late)
    assert refresh(databases, settings).facts_deleted == 1


@pytest.mark.every_postgres
def test_a_reconcile_deletes_within_its_range_only(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The range is [since, until): the first moment belongs to it and the last does not."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    moments = [NOON - MINUTE / 60_000_000, NOON, NOON + DAY - MINUTE / 60_000_000, NOON + DAY]
    jobs = plant_jobs(source, tenant, [{"completed_at": moment} for moment in moments])
    refresh(databases, settings)
    delete(source, *jobs)

    reconcile(databases, settings, since=NOON, until=NOON + DAY)

    assert days(analytics, tenant) == {NOON.replace(hour=0), (NOON + DAY).replace(hour=0)}
    assert sum(totals(analytics, tenant)) == 2
    reconcile(databases, settings, since=NOON - DAY, until=NOON + 2 * DAY)
    assert days(analytics, tenant) == set()


def test_a_reconcile_of_one_organization_leaves_the_others_alone(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Nobody else's row is written, though their rows are gone from the source too, and newer ones wait."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    mine, theirs = plant_job(source, tenant), plant_job(source, neighbour)
    plant_job(source, neighbour)
    refresh(databases, settings)
    neighbours = row_versions(analytics, neighbour.organization)
    cursors = progress_of(analytics, neighbour)
    delete(source, mine, theirs)
    plant_job(source, neighbour)

    report = reconcile(
        databases,
        settings,
        since=NOON - DAY,
        until=NOON + DAY,
        organization_ids=[tenant.organization],
    )

    assert report.organizations == 1
    assert cells(analytics, tenant.organization) == {}
    assert row_versions(analytics, neighbour.organization) == neighbours
    assert progress_of(analytics, neighbour) == cursors
    reconcile(databases, settings, since=NOON - DAY, until=NOON + DAY)
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_second_reconcile_writes_nothing(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A range in which source and facts agree is not read again, and every row stays as it is."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    plant_jobs(source, tenant, [{"completed_at": NOON + day * DAY} for day in range(5)])
    reconcile(databases, settings, since=NOON - DAY, until=NOON + 9 * DAY)
    before = row_versions(analytics)

    report = reconcile(databases, settings, since=NOON - DAY, until=NOON + 9 * DAY)

    assert report.rows_read == 0
    assert (report.cells_written, report.cells_deleted) == (0, 0)
    assert (report.facts_inserted, report.facts_updated, report.facts_deleted) == (0, 0, 0)
    assert row_versions(analytics) == before
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_reconcile_is_a_refresh_too(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """What changed outside the range is published as well, so that the cursor may move."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    refresh(databases, settings)
    plant_job(source, tenant)

    reconcile(databases, settings, since=NOON + 300 * DAY, until=NOON + 301 * DAY)

    assert differences(cells(analytics), cells_by_sql(source)) == []
    assert sum(totals(analytics, tenant)) == 1


def test_cells_that_somebody_changed_are_put_right(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Changed, removed and added ones that reach into the range, although facts and source agree."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    for whose in (tenant, neighbour):
        plant_jobs(source, whose, [{"completed_at": NOON + day * DAY} for day in (-60, 0, 60)])
    refresh(databases, settings)
    right, neighbours = cells(analytics), row_versions(analytics, neighbour.organization)
    mine = "organization_id = %(tenant)s AND"
    inside = {"tenant": tenant.organization, "noon": NOON, "other": tenant.workflows[1]}
    for damage in (
        f"UPDATE analytics.aggregate_metrics SET total_duration_ms = 1 WHERE {mine} period = 'week'"
        " AND period_start BETWEEN %(noon)s::timestamptz - interval '7 days' AND %(noon)s",
        f"DELETE FROM analytics.aggregate_metrics WHERE {mine} period = 'month'"
        " AND period_start BETWEEN %(noon)s::timestamptz - interval '31 days' AND %(noon)s",
        f"UPDATE analytics.aggregate_metrics SET workflow_id = %(other)s WHERE {mine} period = 'day'"
        " AND period_start = date_trunc('day', %(noon)s, 'UTC') AND workflow_id <> %(other)s"
        " AND workflow_id <> '00000000-0000-0000-0000-000000000000'",
        f"UPDATE analytics.aggregate_metrics SET total_duration_ms = 0 WHERE {mine} period = 'hour'",
    ):
        assert analytics.execute(damage, inside).rowcount > 0
    told = preview(databases, settings, since=NOON, until=NOON + MINUTE)

    report = reconcile(databases, settings, since=NOON, until=NOON + MINUTE)

    # The hours of the other two days are not what was asked for.
    wrong = {key for key, cell in cells(analytics).items() if cell["total_duration_ms"] == 0}
    assert {key[2] for key in wrong} == {NOON - 60 * DAY, NOON + 60 * DAY}
    assert {key: figures(cell) for key, cell in cells(analytics).items() if key not in wrong} == {
        key: figures(cell) for key, cell in right.items() if key not in wrong
    }
    assert (report.rows_read, report.cells_written + report.cells_deleted) == (0, told[0].jobs.cells)
    assert {rows[0].reason for rows in restated(analytics).values()} == {"drift"}
    assert row_versions(analytics, neighbour.organization) == neighbours
    assert [each.organization_id for each in told] == [tenant.organization]


def test_a_job_that_left_the_range_is_not_taken_for_deleted(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """The facts have it in the range and the source elsewhere: it is moved, not lost."""
    tenant = plant_tenant(source)
    plant_job(source, plant_tenant(source, "Neighbour"))
    job = plant_job(source, tenant)
    refresh(databases, settings)
    change_job(source, job, completed_at=NOON + 40 * DAY)

    reconcile(databases, settings, since=NOON - DAY, until=NOON + DAY)

    assert days(analytics, tenant) == {(NOON + 40 * DAY).replace(hour=0)}
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_a_reconcile_finds_a_workflow_that_changed_hands(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """No job row changed, and yet its jobs point at a stranger's workflow now."""
    without_constraints(source)
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, neighbour)
    job = plant_job(source, tenant)
    refresh(databases, settings)
    source.execute(
        "UPDATE orchestration.workflows SET organization_id = %s WHERE id = %s",
        [neighbour.organization, tenant.workflows[0]],
    )

    reconcile(databases, settings, since=NOON - DAY, until=NOON + DAY)

    assert listed(analytics) == {(job, "foreign_workflow", "not_counted")}
    assert cells(analytics, tenant.organization) == {}


def test_a_hard_deleted_anomaly_leaves_the_list(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Nothing is left to explain about a row that is gone."""
    tenant = plant_tenant(source)
    kept = plant_job(source, plant_tenant(source, "Neighbour"), started_at=NOON + MINUTE)
    job = plant_job(source, tenant, started_at=NOON + MINUTE)
    refresh(databases, settings)
    delete(source, job)

    reconcile(databases, settings, since=NOON - DAY, until=NOON + DAY)

    assert listed(analytics) == {(kept, "negative_duration", "not_timed")}


def test_an_organization_that_is_gone_loses_its_cells(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """A tenant deleted with all its rows is reconciled like any other, asked for or not."""
    tenant, neighbour = plant_tenant(source), plant_tenant(source, "Neighbour")
    plant_job(source, tenant)
    plant_job(source, neighbour)
    refresh(databases, settings)
    source.execute("DELETE FROM orchestration.organizations WHERE id = %s", [tenant.organization])

    reconcile(databases, settings, since=NOON - DAY, until=NOON + DAY, organization_ids=[tenant.organization])

    assert {key[0] for key in cells(analytics)} == {neighbour.organization}
    assert differences(cells(analytics), cells_by_sql(source)) == []


def test_an_unknown_organization_is_named(databases: Databases, settings: Settings) -> None:
    """Neither command takes an id that nobody knows, and nothing is done."""
    stranger = new_id()

    with pytest.raises(UnknownOrganization, match=str(stranger)):
        reconcile(databases, settings, since=NOON, until=NOON + DAY, organization_ids=[stranger])
    with pytest.raises(UnknownOrganization, match=str(stranger)):
        refresh(databases, settings, organization_ids=[stranger])


@pytest.mark.parametrize("until", [NOON, NOON - DAY])
def test_a_range_without_extent_is_refused(until: datetime, databases: Databases, settings: Settings) -> None:
    """A range is [since, until), the earlier time first."""
    with pytest.raises(InvalidRange, match="is not before"):
        reconcile(databases, settings, since=NOON, until=until)


def delete(source: psycopg.Connection, *jobs: UUID) -> None:
    """Delete jobs for good."""
    source.execute("DELETE FROM orchestration.jobs WHERE id = ANY(%s)", [list(jobs)])


def days(analytics: psycopg.Connection, tenant: Tenant) -> set[datetime]:
    """The days on which the tenant has cells."""
    return {key[2] for key in cells(analytics, tenant.organization) if key[1] == "day"}


def totals(analytics: psycopg.Connection, tenant: Tenant) -> list[int]:
    """The tenant's jobs, day by day."""
    return [
        cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if (key[1], *key[3:]) == ("day", ALL, ALL, "all")
    ]


def progress_of(analytics: psycopg.Connection, tenant: Tenant) -> list[tuple]:
    """What is remembered of how far a tenant was read and published."""
    return analytics.execute(
        "SELECT * FROM analytics.watermarks WHERE subject = 'jobs' AND organization_id = %s",
        [tenant.organization],
    ).fetchall()
