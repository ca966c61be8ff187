"""A reconcile makes a range equal the source again, hard deletes included, and nothing outside it."""

from datetime import datetime

import pytest
from psycopg import Connection

from pipelines.errors import InvalidRange, UnknownOrganization
from pipelines.fault_points import FaultPoint
from pipelines.settings import Tier
from tests.support.faults.runs import recorded
from tests.support.oracle import ALL, cells_by_sql, differences
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, MINUTE, NOON, Tenant, cells, new_id, without_constraints
from tests.support.restatement_oracle import figures, restated


def test_what_searches_by_index_does_not_see_hard_deletes_and_a_reconcile_does(pipeline: Pipeline) -> None:
    """A row that is gone leaves nothing to read, so only the comparison with the facts finds it."""
    pipeline = pipeline.having(extraction=Tier.INDEXED)
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    neighbours = pipeline.row_versions(neighbour.organization)
    pipeline.delete_jobs(job)
    pipeline.refresh()
    still_there = days(pipeline.analytics, tenant)

    report = pipeline.reconcile(since=NOON - DAY, until=NOON + DAY)

    assert len(still_there) == 1
    assert pipeline.cells(tenant.organization) == {}
    assert (report.facts_deleted, report.cells_deleted) == (1, 27)
    assert pipeline.row_versions(neighbour.organization) == neighbours
    assert pipeline.differences() == []


def test_a_refresh_heals_hard_deletes(pipeline: Pipeline) -> None:
    """The sweep counts what it looks through, so a row that is gone is missed, whatever came in its place."""
    without_constraints(pipeline.source)
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    pipeline.plant_job(neighbour, status="RUNNING", completed_at=None)
    kept, gone, replaced = pipeline.plant_jobs(tenant, [{}, {"created_at": NOON - DAY}, {}])
    spoilt = pipeline.plant_job(tenant, status="ARCHIVED")
    backwards = pipeline.plant_job(tenant, started_at=NOON + MINUTE)
    pipeline.refresh()
    neighbours = pipeline.row_versions(neighbour.organization)
    pipeline.delete_jobs(gone)
    alone = pipeline.refresh()
    one_less = differences(pipeline.cells(), cells_by_sql(pipeline.source))

    pipeline.delete_jobs(replaced)
    pipeline.plant_job(tenant)
    pipeline.change_job(kept, status="FAILED")
    pipeline.delete_jobs(spoilt, backwards)
    together = pipeline.refresh()

    assert (alone.facts_deleted, one_less) == (1, [])
    assert (together.facts_deleted, together.facts_inserted, together.facts_updated) == (2, 1, 1)
    assert pipeline.differences() == []
    assert pipeline.listed() == set()
    assert pipeline.row_versions(neighbour.organization) == neighbours
    pipeline.source.execute("DELETE FROM orchestration.jobs")
    assert pipeline.refresh().facts_deleted == 3
    assert pipeline.cells() == {}
    nothing = pipeline.refresh()
    assert (nothing.rows_read, nothing.cells_written, nothing.cells_deleted) == (0, 0, 0)


def test_what_is_accounted_for_is_not_compared(pipeline: Pipeline) -> None:
    """New, edited, spoilt, repaired and soft-deleted jobs leave the count right: no checksum is compared."""
    without_constraints(pipeline.source)
    tenant = pipeline.plant_beside_a_neighbour()
    edited, deleted, spoilt, retried = pipeline.plant_jobs(tenant, [{}] * 4)
    repaired = pipeline.plant_job(tenant, status="ARCHIVED")
    pipeline.refresh()
    pipeline.plant_job(tenant)
    pipeline.change_job(edited, status="FAILED")
    pipeline.change_job(deleted, deleted_at=NOON)
    pipeline.change_job(spoilt, status="ARCHIVED")
    pipeline.change_job(retried, status="RUNNING", completed_at=None)
    pipeline.change_job(repaired, status="COMPLETED")

    with recorded() as passed:
        pipeline.refresh()

    assert FaultPoint.CENSUS_READ in passed
    assert FaultPoint.CHECKSUMS_READ not in passed


def test_too_many_deletes_are_guarded_by_a_refresh_and_stand(pipeline: Pipeline) -> None:
    """The others go on, the next refresh publishes what else happens, and who accepts is rid of them."""
    pipeline = pipeline.having(tolerated_failures_pct=50)
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    jobs = pipeline.plant_jobs(tenant, [{}] * 1_001)
    pipeline.refresh()
    pipeline.delete_jobs(*jobs[1:])

    guarded = pipeline.refresh()
    late = pipeline.plant_job(tenant)
    standing = pipeline.refresh()

    assert [each.error_class for each in guarded.failed] == ["DeletesNotAccepted"]
    assert (standing.failed, standing.facts_deleted, standing.facts_inserted) == ((), 0, 1)
    assert sum(totals(pipeline.analytics, tenant)) == 1_002
    failing = {each.organization_id: each.failing for each in pipeline.status().organizations}
    assert failing == {tenant.organization: "DeletesNotAccepted", neighbour.organization: None}
    pipeline.reconcile(since=NOON - DAY, until=NOON + DAY, accept_deletes=True)
    assert pipeline.differences() == []
    pipeline.delete_jobs(late)
    assert pipeline.refresh().facts_deleted == 1


@pytest.mark.every_postgres
def test_a_reconcile_deletes_within_its_range_only(pipeline: Pipeline) -> None:
    """The range is [since, until): the first moment belongs to it and the last does not."""
    tenant = pipeline.plant_beside_a_neighbour()
    moments = [NOON - MINUTE / 60_000_000, NOON, NOON + DAY - MINUTE / 60_000_000, NOON + DAY]
    jobs = pipeline.plant_jobs(tenant, [{"completed_at": moment} for moment in moments])
    pipeline.refresh()
    pipeline.delete_jobs(*jobs)

    pipeline.reconcile(since=NOON, until=NOON + DAY)

    assert days(pipeline.analytics, tenant) == {NOON.replace(hour=0), (NOON + DAY).replace(hour=0)}
    assert sum(totals(pipeline.analytics, tenant)) == 2
    pipeline.reconcile(since=NOON - DAY, until=NOON + 2 * DAY)
    assert days(pipeline.analytics, tenant) == set()


def test_a_reconcile_of_one_organization_leaves_the_others_alone(pipeline: Pipeline) -> None:
    """Nobody else's row is written, though their rows are gone from the source too, and newer ones wait."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    mine, theirs = pipeline.plant_job(tenant), pipeline.plant_job(neighbour)
    pipeline.plant_job(neighbour)
    pipeline.refresh()
    neighbours = pipeline.row_versions(neighbour.organization)
    cursors = progress_of(pipeline.analytics, neighbour)
    pipeline.delete_jobs(mine, theirs)
    pipeline.plant_job(neighbour)

    report = pipeline.reconcile(since=NOON - DAY, until=NOON + DAY, organization_ids=[tenant.organization])

    assert report.organizations == 1
    assert pipeline.cells(tenant.organization) == {}
    assert pipeline.row_versions(neighbour.organization) == neighbours
    assert progress_of(pipeline.analytics, neighbour) == cursors
    pipeline.reconcile(since=NOON - DAY, until=NOON + DAY)
    assert pipeline.differences() == []


def test_a_second_reconcile_writes_nothing(pipeline: Pipeline) -> None:
    """A range in which source and facts agree is not read again, and every row stays as it is."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.plant_jobs(tenant, [{"completed_at": NOON + day * DAY} for day in range(5)])
    pipeline.reconcile(since=NOON - DAY, until=NOON + 9 * DAY)
    before = pipeline.row_versions()

    report = pipeline.reconcile(since=NOON - DAY, until=NOON + 9 * DAY)

    assert report.rows_read == 0
    assert (report.cells_written, report.cells_deleted) == (0, 0)
    assert (report.facts_inserted, report.facts_updated, report.facts_deleted) == (0, 0, 0)
    assert pipeline.row_versions() == before
    assert pipeline.differences() == []


def test_a_reconcile_is_a_refresh_too(pipeline: Pipeline) -> None:
    """What changed outside the range is published as well, so that the cursor may move."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.refresh()
    pipeline.plant_job(tenant)

    pipeline.reconcile(since=NOON + 300 * DAY, until=NOON + 301 * DAY)

    assert pipeline.differences() == []
    assert sum(totals(pipeline.analytics, tenant)) == 1


def test_cells_that_somebody_changed_are_put_right(pipeline: Pipeline) -> None:
    """Changed, removed and added ones that reach into the range, although facts and source agree."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for whose in (tenant, neighbour):
        pipeline.plant_jobs(whose, [{"completed_at": NOON + day * DAY} for day in (-60, 0, 60)])
    pipeline.refresh()
    right, neighbours = pipeline.cells(), pipeline.row_versions(neighbour.organization)
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
        assert pipeline.analytics.execute(damage, inside).rowcount > 0
    told = pipeline.dry_run(since=NOON, until=NOON + MINUTE)

    report = pipeline.reconcile(since=NOON, until=NOON + MINUTE)

    # The hours of the other two days are not what was asked for.
    wrong = {key for key, cell in pipeline.cells().items() if cell["total_duration_ms"] == 0}
    assert {key[2] for key in wrong} == {NOON - 60 * DAY, NOON + 60 * DAY}
    assert {key: figures(cell) for key, cell in pipeline.cells().items() if key not in wrong} == {
        key: figures(cell) for key, cell in right.items() if key not in wrong
    }
    assert (report.rows_read, report.cells_written + report.cells_deleted) == (0, told[0].jobs.cells)
    assert {rows[0].reason for rows in restated(pipeline.analytics).values()} == {"drift"}
    assert pipeline.row_versions(neighbour.organization) == neighbours
    assert [each.organization_id for each in told] == [tenant.organization]


def test_a_job_that_left_the_range_is_not_taken_for_deleted(pipeline: Pipeline) -> None:
    """The facts have it in the range and the source elsewhere: it is moved, not lost."""
    tenant = pipeline.plant_beside_a_neighbour()
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    pipeline.change_job(job, completed_at=NOON + 40 * DAY)

    pipeline.reconcile(since=NOON - DAY, until=NOON + DAY)

    assert days(pipeline.analytics, tenant) == {(NOON + 40 * DAY).replace(hour=0)}
    assert pipeline.differences() == []


def test_a_reconcile_finds_a_workflow_that_changed_hands(pipeline: Pipeline) -> None:
    """No job row changed, and yet its jobs point at another organization's workflow now."""
    without_constraints(pipeline.source)
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    pipeline.source.execute(
        "UPDATE orchestration.workflows SET organization_id = %s WHERE id = %s",
        [neighbour.organization, tenant.workflows[0]],
    )

    pipeline.reconcile(since=NOON - DAY, until=NOON + DAY)

    assert pipeline.listed() == {(job, "foreign_workflow", "not_counted")}
    assert pipeline.cells(tenant.organization) == {}


def test_a_hard_deleted_anomaly_leaves_the_list(pipeline: Pipeline) -> None:
    """Nothing is left to explain about a row that is gone."""
    tenant = pipeline.plant_tenant()
    kept = pipeline.plant_job(pipeline.plant_tenant("Neighbour"), started_at=NOON + MINUTE)
    job = pipeline.plant_job(tenant, started_at=NOON + MINUTE)
    pipeline.refresh()
    pipeline.delete_jobs(job)

    pipeline.reconcile(since=NOON - DAY, until=NOON + DAY)

    assert pipeline.listed() == {(kept, "negative_duration", "not_timed")}


def test_an_organization_that_is_gone_loses_its_cells(pipeline: Pipeline) -> None:
    """A tenant deleted with all its rows is reconciled like any other, asked for or not."""
    tenant, neighbour = pipeline.plant_pair()
    pipeline.refresh()
    pipeline.source.execute("DELETE FROM orchestration.organizations WHERE id = %s", [tenant.organization])

    pipeline.reconcile(since=NOON - DAY, until=NOON + DAY, organization_ids=[tenant.organization])

    assert {key[0] for key in pipeline.cells()} == {neighbour.organization}
    assert pipeline.differences() == []


@pytest.mark.parametrize("command", ["refresh", "reconcile", "dry_run", "verify"])
def test_an_unknown_organization_is_named(command: str, pipeline: Pipeline) -> None:
    """No command takes an id that nobody knows, and nothing is done."""
    unknown = new_id()
    asked = {} if command == "refresh" else {"since": NOON, "until": NOON + DAY}

    with pytest.raises(UnknownOrganization, match=str(unknown)):
        getattr(pipeline, command)(organization_ids=[unknown], **asked)


@pytest.mark.parametrize("until", [NOON, NOON - DAY])
@pytest.mark.parametrize("command", ["reconcile", "dry_run", "verify"])
def test_a_range_without_extent_is_refused(command: str, until: datetime, pipeline: Pipeline) -> None:
    """A range is [since, until), the earlier time first."""
    with pytest.raises(InvalidRange, match="is not before"):
        getattr(pipeline, command)(since=NOON, until=until)


def days(analytics: Connection, tenant: Tenant) -> set[datetime]:
    """The days on which the tenant has cells."""
    return {key[2] for key in cells(analytics, tenant.organization) if key[1] == "day"}


def totals(analytics: Connection, tenant: Tenant) -> list[int]:
    """The tenant's jobs, day by day."""
    return [
        cell["total_executions"]
        for key, cell in cells(analytics, tenant.organization).items()
        if (key[1], *key[3:]) == ("day", ALL, ALL, "all")
    ]


def progress_of(analytics: Connection, tenant: Tenant) -> list[tuple]:
    """What is remembered of how far a tenant was read and published."""
    return analytics.execute(
        "SELECT * FROM analytics.watermarks WHERE subject = 'jobs' AND organization_id = %s",
        [tenant.organization],
    ).fetchall()
