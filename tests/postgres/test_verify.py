"""Verify compares every stored cell with the source, and finds what is wrong, missing or left over."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from psycopg import Connection

from tests.support.oracle import ALL
from tests.support.pipeline import Pipeline
from tests.support.planting import DAY, HOUR, MINUTE, NOON, Tenant, plant_jobs, without_constraints

# One figure each, changed by so little that a rounded comparison would miss it.
WRONG = {
    "total_executions": "total_executions = total_executions + 1, failed_executions = failed_executions + 1",
    "timed_executions": "timed_executions = timed_executions - 1",
    "success_rate_pct": "success_rate_pct = success_rate_pct - 0.0001",
    "total_duration_ms": "total_duration_ms = total_duration_ms * (1 + 1e-7)",
    "average_duration_ms": "average_duration_ms = average_duration_ms + 0.01",
    "min_duration_ms": "min_duration_ms = min_duration_ms - 0.01",
    "max_duration_ms": "max_duration_ms = max_duration_ms + 0.01",
    "median_duration_ms": "median_duration_ms = median_duration_ms + 0.01",
    "p90_duration_ms": "p90_duration_ms = p90_duration_ms - 0.01",
    "p95_duration_ms": "p95_duration_ms = p95_duration_ms + 0.01",
    "p99_duration_ms": "p99_duration_ms = p99_duration_ms + 0.01",
}
AT = "organization_id = %(organization_id)s AND period = %(period)s AND period_start = %(period_start)s"
TOTAL = f"{AT} AND workflow_id = %(all)s AND client_id = %(all)s AND initiator_type = 'all'"


def test_a_refreshed_table_has_no_difference(pipeline: Pipeline) -> None:
    """Every cell is compared, of every tenant, anomalies and missing values included."""
    without_constraints(pipeline.source)
    for name in ("Acme", "Neighbour"):
        tenant = pipeline.plant_tenant(name)
        plant_a_day(pipeline.source, tenant)
        pipeline.plant_job(tenant, started_at=NOON + MINUTE)
        pipeline.plant_job(tenant, completed_at="infinity")
        pipeline.plant_job(tenant, client_id=None, initiator_type=None)
    pipeline.refresh()

    report = pipeline.verify()

    stored = pipeline.select("SELECT count(*) FROM analytics.aggregate_metrics")[0][0]
    assert (report.organizations, report.cells_compared, report.cells_pending) == (2, stored, 0)
    assert report.differences == ()


@pytest.mark.parametrize("column", WRONG)
def test_a_wrong_figure_is_found(column: str, pipeline: Pipeline) -> None:
    """A single changed figure is named with its cell, what is stored and what is expected."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    plant_a_day(pipeline.source, tenant)
    plant_a_day(pipeline.source, neighbour)
    pipeline.refresh()
    cell = cell_of(tenant)
    ((expected,),) = pipeline.select(f"SELECT {column} FROM analytics.aggregate_metrics WHERE {TOTAL}", cell)
    pipeline.analytics.execute(f"UPDATE analytics.aggregate_metrics SET {WRONG[column]} WHERE {TOTAL}", cell)

    report = pipeline.verify()

    found = {difference.column: difference for difference in report.differences}
    assert column in found
    assert set(found) <= {column, "failed_executions"}
    difference = found[column]
    assert difference.organization_id == tenant.organization
    assert (difference.period, difference.period_start) == ("day", cell["period_start"])
    assert difference.cell == {"workflow_id": ALL, "client_id": ALL, "initiator_type": "all"}
    assert difference.expected == pytest.approx(expected, rel=1e-12)
    assert difference.stored != difference.expected


def test_a_missing_and_a_leftover_cell_are_found(pipeline: Pipeline) -> None:
    """A cell that is not there and one that should not be there differ as rows."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    plant_a_day(pipeline.source, tenant)
    pipeline.plant_job(neighbour)
    pipeline.refresh()
    pipeline.analytics.execute(f"DELETE FROM analytics.aggregate_metrics WHERE {TOTAL}", cell_of(tenant))
    pipeline.analytics.execute(
        f"UPDATE analytics.aggregate_metrics SET period_start = period_start + '1 day' WHERE {TOTAL}",
        cell_of(neighbour),
    )

    differences = pipeline.verify().differences

    assert {difference.column for difference in differences} == {"row"}
    found = {(each.organization_id, each.period_start, each.stored, each.expected) for each in differences}
    day = NOON.replace(hour=0)
    assert found == {
        (tenant.organization, day, None, 6),
        (neighbour.organization, day, None, 1),
        (neighbour.organization, day + DAY, 1, None),
    }


def test_durations_that_should_be_null_are_found(pipeline: Pipeline) -> None:
    """A cell that claims durations though no job is timed is wrong, and so is the reverse."""
    untimed, timed = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(untimed, started_at=NOON + MINUTE)
    pipeline.plant_job(timed)
    pipeline.refresh()
    durations = ("average", "min", "max", "median", "p90", "p95", "p99")
    for tenant, value in ((untimed, "1"), (timed, "NULL")):
        pipeline.analytics.execute(
            f"UPDATE analytics.aggregate_metrics SET timed_executions = {int(value == '1')},"
            f" total_duration_ms = {int(value == '1')},"
            f" {', '.join(f'{name}_duration_ms = {value}' for name in durations)} WHERE {TOTAL}",
            cell_of(tenant),
        )

    found = pipeline.verify().differences

    columns = {"timed_executions", *(f"{name}_duration_ms" for name in ("total", *durations))}
    both = (untimed.organization, timed.organization)
    assert {(each.organization_id, each.column) for each in found} == {*product(both, columns)}


def test_cells_of_later_rows_are_pending(pipeline: Pipeline) -> None:
    """A row written after the horizon is not yet published: both its old and its new cells wait."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.plant_job(neighbour)
    job = pipeline.plant_job(tenant)
    pipeline.plant_job(tenant, completed_at=NOON + 60 * DAY)
    pipeline.refresh()
    pipeline.change_job(job, completed_at=NOON + HOUR)

    report = pipeline.verify()

    # It left 4 cells of an hour and enters 4; the 23 of day, week and month are touched too.
    assert (report.cells_pending, report.differences) == (31, ())
    assert report.cells_compared == 54
    pipeline.refresh()
    assert pipeline.verify().cells_pending == 0


def test_a_job_on_its_way_to_another_organization_is_pending_for_both(pipeline: Pipeline) -> None:
    """The cells that the job is leaving wait for the next refresh, whichever organizations are asked for."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    job = pipeline.plant_job(tenant)
    pipeline.plant_job(neighbour)
    pipeline.refresh()
    pipeline.give_job(job, neighbour)

    both = pipeline.verify()
    left = pipeline.verify(organization_ids=[tenant.organization])
    entered = pipeline.verify(organization_ids=[neighbour.organization])

    assert (both.differences, left.differences, entered.differences) == ((), (), ())
    assert (left.cells_pending, entered.cells_pending) == (27, 27)


def test_a_wrong_histogram_is_found(pipeline: Pipeline) -> None:
    """One job in another bucket, in one hour or day, differs; and the audit puts it right."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    for whose in (tenant, neighbour):
        taken = [MINUTE, MINUTE, 61 * MINUTE, 0 * MINUTE]
        pipeline.plant_jobs(whose, [{"started_at": NOON - each} for each in taken])
    pipeline.refresh()
    kept = {
        (key[1], tuple(cell["histogram_buckets"]), tuple(cell["histogram_counts"]))
        for key, cell in pipeline.cells().items()
        if cell["histogram_buckets"]
    }
    # The bucket b of a duration of d microseconds is the least with d <= 1.02 ** b.
    expected = ((-1, 905, 1113), (1, 2, 1))
    assert kept == {("hour", *expected), ("day", *expected)}
    before = pipeline.verify().differences
    changed = pipeline.analytics.execute(
        "UPDATE analytics.aggregate_metrics SET histogram_counts[1] = 7 WHERE organization_id = %s"
        " AND period = 'hour' AND histogram_counts IS NOT NULL",
        [tenant.organization],
    ).rowcount

    found = pipeline.verify().differences

    assert before == ()
    expected = (tenant.organization, "hour", "histogram_counts")
    assert [(each.organization_id, each.period, each.column) for each in found] == [expected] * 4
    assert changed == 4
    pipeline.audit()
    assert pipeline.verify().differences == ()


def test_a_row_deleted_for_good_is_a_difference(pipeline: Pipeline) -> None:
    """Nothing announces it, so a refresh would not repair it: it is shown until a reconcile does."""
    tenant = pipeline.plant_beside_a_neighbour()
    job = pipeline.plant_job(tenant)
    pipeline.refresh()
    pipeline.delete_jobs(job)

    report = pipeline.verify()

    assert len(report.differences) == 27
    assert {difference.organization_id for difference in report.differences} == {tenant.organization}


def test_a_range_selects_by_the_start_of_the_period(pipeline: Pipeline) -> None:
    """A day that begins in [since, until) is compared whole, whatever the hours of the bounds."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.plant_jobs(tenant, [{"completed_at": NOON + day * DAY} for day in range(-1, 3)])
    pipeline.refresh()
    day = NOON.replace(hour=0)

    report = pipeline.verify(since=day, until=day + DAY)

    stored = pipeline.select(
        "SELECT count(*) FROM analytics.aggregate_metrics WHERE period_start >= %s AND period_start < %s",
        [day, day + DAY],
    )[0][0]
    assert (report.cells_compared, report.differences) == (stored, ())
    pipeline.analytics.execute(
        "UPDATE analytics.aggregate_metrics SET max_duration_ms = max_duration_ms + 1 WHERE period = 'day'"
        " AND period_start = ANY(%s)",
        [[day - DAY, day + DAY]],
    )
    assert pipeline.verify(since=day, until=day + DAY).differences == ()
    assert pipeline.verify(until=day).differences
    assert pipeline.verify(since=day + DAY).differences


def test_only_the_organization_asked_for_is_compared(pipeline: Pipeline) -> None:
    """A neighbour's wrong figure does not show in another's report."""
    tenant, neighbour = pipeline.plant_pair()
    pipeline.refresh()
    pipeline.analytics.execute(
        f"UPDATE analytics.aggregate_metrics SET {WRONG['max_duration_ms']} WHERE {TOTAL}", cell_of(neighbour)
    )

    mine = pipeline.verify(organization_ids=[tenant.organization])
    theirs = pipeline.verify(organization_ids=[neighbour.organization])

    assert (mine.organizations, mine.cells_compared, mine.differences) == (1, 27, ())
    assert len(theirs.differences) == 1


def test_verify_knows_the_tolerance_of_the_settings(pipeline: Pipeline) -> None:
    """A believed future is compared like any other time."""
    tenant = pipeline.plant_beside_a_neighbour()
    pipeline.plant_job(tenant, completed_at=NOON + timedelta(days=40_000))
    believing = pipeline.having(future_tolerance=None)
    believing.refresh()

    assert believing.verify().differences == ()
    assert len(pipeline.verify().differences) == 27


def plant_a_day(source: Connection, tenant: Tenant) -> None:
    """Insert six jobs of one day, of different durations, two of them failed."""
    plant_jobs(
        source,
        tenant,
        [
            {
                "completed_at": NOON + number * HOUR,
                "started_at": NOON + number * HOUR - (number + 1) ** 2 * MINUTE,
                "status": "FAILED" if number % 3 == 0 else "COMPLETED",
            }
            for number in range(6)
        ],
    )


def cell_of(tenant: Tenant) -> dict[str, Any]:
    """The key of the total of the tenant's day, as parameters."""
    bucket = {"period": "day", "period_start": NOON.replace(hour=0)}
    return {"organization_id": tenant.organization, "all": ALL, **bucket}
