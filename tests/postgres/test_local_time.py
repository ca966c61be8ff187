"""Days, weeks and months begin where the organization lives; hours are everybody's."""

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import Connection

from tests.support.pipeline import Pipeline, live_in
from tests.support.planting import DAY, HOUR, NOON, Tenant, plant_jobs, plant_tenant

# Summer time, both ways; a half and a quarter of an hour; a day that begins twice, and one that begins at 1.
ZONES = (
    *("Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu"),
    *("America/Havana", "America/Sao_Paulo", "UTC", ""),
)
CHANGES = [
    datetime(*parts, tzinfo=UTC)
    for parts in (
        *((2017, 10, 15, 3), (2017, 10, 29, 1), (2017, 11, 5, 5), (2017, 11, 5, 6)),
        *((2018, 3, 11, 5), (2018, 3, 25, 1), (2023, 12, 31, 18, 30), (2024, 1, 1)),
    )
]


@pytest.fixture
def tenants(source: Connection) -> dict[str, Tenant]:
    """One organization in each zone, with jobs around every change of clocks."""
    found = {}
    for zone in ZONES:
        found[zone] = tenant = plant_tenant(source, zone or "nowhere")
        live_in(source, tenant, zone)
        moments = [
            change + hours * HOUR + extra
            for change in CHANGES
            for hours in (-25, -1, 0, 1, 23)
            for extra in (timedelta(0), timedelta(minutes=29, microseconds=-1))
        ]
        plant_jobs(
            source,
            tenant,
            [
                {"completed_at": moment, "workflow_id": tenant.workflows[number % 2]}
                for number, moment in enumerate(moments)
            ],
        )
    return found


@pytest.mark.usefixtures("tenants")
@pytest.mark.every_postgres
def test_cells_are_those_of_the_sources_own_calendar(pipeline: Pipeline) -> None:
    """In every zone, across every change of clocks, at first and after jobs moved from one day to another."""
    first = pipeline.refresh()
    jobs = pipeline.source.execute("SELECT id, completed_at FROM orchestration.jobs ORDER BY id").fetchall()
    assert first.cells_written == len(pipeline.cells())
    assert pipeline.differences() == []
    for job, completed_at in jobs[::7]:
        pipeline.change_job(job, completed_at=completed_at + HOUR, started_at=completed_at)

    pipeline.refresh()

    assert pipeline.differences() == []
    report = pipeline.verify()
    assert (report.differences, report.cells_pending) == ((), 0)
    assert pipeline.refresh().cells_computed == 0


def test_a_day_has_23_or_25_hours(pipeline: Pipeline) -> None:
    """As long as clocks say: the day counts the jobs of just these hours, for a neighbour in UTC of 24."""
    amsterdam, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    pipeline.live_in(amsterdam, "Europe/Amsterdam")
    for day in (datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)):
        for tenant in (amsterdam, neighbour):
            pipeline.plant_jobs(tenant, [{"completed_at": day + n * HOUR} for n in range(-6, 36)])

    pipeline.refresh()

    for tenant, start, hours in (
        (amsterdam, datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
        (amsterdam, datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
        (neighbour, datetime(2026, 3, 29, tzinfo=UTC), 24),
        (neighbour, datetime(2026, 10, 25, tzinfo=UTC), 24),
    ):
        assert pipeline.totals(tenant, "day")[start]["total_executions"] == hours


def test_another_zone_restates_days_and_longer_and_nothing_else(
    tenants: dict[str, Tenant], pipeline: Pipeline
) -> None:
    """Not an hour of it is written, nor a row of anybody else; what changed says why, and it stays right."""
    pipeline.refresh()
    mover = tenants["America/New_York"]
    before = pipeline.row_versions()
    hours = {key: version for key, version in before.items() if key[1] == "hour"}
    pipeline.live_in(mover, "Asia/Kolkata")
    pending = pipeline.verify()

    report = pipeline.refresh()

    after = pipeline.row_versions()
    assert pending.differences == ()
    assert pending.cells_pending > 0
    assert report.cells_written > 0
    assert {key: version for key, version in after.items() if key[1] == "hour"} == hours
    changed = {key[0] for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed == {mover.organization}
    assert pipeline.differences() == []
    reasons = pipeline.select("SELECT DISTINCT organization_id, reason FROM analytics.restatements")
    assert reasons == [(mover.organization, "time_zone")]
    assert pipeline.verify().differences == ()
    assert pipeline.refresh().cells_computed == 0


def test_a_zone_and_a_job_may_change_at_once(tenants: dict[str, Tenant], pipeline: Pipeline) -> None:
    """The hours of the job are written too."""
    pipeline.refresh()
    mover = tenants["Asia/Kathmandu"]
    pipeline.live_in(mover, "America/Havana")
    pipeline.plant_job(mover, completed_at=NOON)
    pipeline.plant_job(tenants["UTC"], completed_at=NOON - DAY)

    pipeline.refresh()

    assert pipeline.differences() == []
    assert pipeline.verify().differences == ()


def test_other_rules_of_the_source_restate_too(tenants: dict[str, Tenant], pipeline: Pipeline) -> None:
    """An upgraded source may know a zone otherwise than when its days were published; UTC stays as it is."""
    pipeline.refresh()
    upgraded = tenants["Europe/Amsterdam"]
    pipeline.analytics.execute(
        "UPDATE analytics.watermarks SET zone_offsets = 'of older rules' WHERE organization_id = %s",
        [upgraded.organization],
    )
    pipeline.analytics.execute(
        "UPDATE analytics.aggregate_metrics SET period_start = period_start + interval '1 hour'"
        " WHERE organization_id = %s AND period = 'day'",
        [upgraded.organization],
    )
    others = pipeline.row_versions(tenants["UTC"].organization)

    report = pipeline.refresh()

    assert report.cells_written > 0
    assert pipeline.differences() == []
    assert pipeline.row_versions(tenants["UTC"].organization) == others
