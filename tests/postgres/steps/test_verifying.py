"""`verify` compares the cells of steps with plain SQL on the logs, and tells what waits from what differs."""

import psycopg
import pytest

from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.postgres.steps.conftest import ALL, change_line
from tests.support.planting import DAY, HOUR, NOON, Tenant, change_job, plant_job, plant_lines

pytestmark = pytest.mark.every_postgres

NAMES = ("open", "send", "close")


@pytest.fixture
def measured(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    tenant: Tenant,
    neighbour: Tenant,  # noqa: ARG001
) -> Tenant:
    """A tenant in Amsterdam with two jobs of many steps, measured."""
    source.execute(
        "UPDATE orchestration.organizations SET time_zone = 'Europe/Amsterdam' WHERE id = %s",
        [tenant.organization],
    )
    for workflow in tenant.workflows:
        job = plant_job(source, tenant, workflow_id=workflow)
        plant_lines(
            source,
            tenant,
            job,
            [
                {
                    "step_name": NAMES[number % 3],
                    "level": ("INFO", "WARN", "ERROR", "FATAL", "TRACE")[number % 5],
                    "timestamp": NOON + number * 7 * HOUR,
                    "duration_ms": None if number % 11 == 0 else number * 1.7 - 3,
                }
                for number in range(40)
            ],
        )
    refresh(databases, settings)
    return tenant


@pytest.mark.usefixtures("measured")
def test_every_cell_of_steps_is_compared(
    databases: Databases, settings: Settings, analytics: psycopg.Connection
) -> None:
    """All that is stored is what SQL says, and nothing is missing."""
    report = verify(databases, settings)

    assert report.steps.differences == ()
    stored = analytics.execute("SELECT count(*) FROM analytics.aggregate_step_metrics").fetchone()
    assert (report.steps.cells_compared, report.steps.cells_pending) == (*stored, 0) == (274, 0)


def test_a_spoilt_missing_or_left_over_cell_is_named(
    databases: Databases, settings: Settings, analytics: psycopg.Connection, measured: Tenant
) -> None:
    """Each difference says which figure of which step, what is stored and what was expected."""
    mine = {"tenant": measured.organization, "start": "2024-01-31 23:00Z"}
    where = " WHERE organization_id = %(tenant)s AND period = 'month' AND period_start = %(start)s"
    analytics.execute(
        "UPDATE analytics.aggregate_step_metrics"
        " SET max_duration_ms = max_duration_ms + 1, warned_executions = warned_executions + 1,"
        f" total_executions = total_executions + 1{where} AND step_name = 'open' AND workflow_id = %(all)s",
        mine | {"all": ALL},
    )
    analytics.execute(f"DELETE FROM analytics.aggregate_step_metrics{where} AND step_name = 'send'", mine)
    analytics.execute(
        f"UPDATE analytics.aggregate_step_metrics SET step_name = 'never'{where} AND step_name = 'close'",
        mine,
    )

    report = verify(databases, settings, organization_ids=[measured.organization])

    assert sorted({(each.cell["step_name"], each.column) for each in report.steps.differences}) == [
        ("close", "row"),
        ("never", "row"),
        ("open", "max_duration_ms"),
        ("open", "total_executions"),
        ("open", "warned_executions"),
        ("send", "row"),
    ]
    assert {each.organization_id for each in report.steps.differences} == {measured.organization}


def test_what_was_written_since_waits(
    databases: Databases, settings: Settings, source: psycopg.Connection, measured: Tenant
) -> None:
    """A new or an edited line and a reassigned job make cells wait; the next refresh settles them."""
    job = plant_job(source, measured)
    (line,) = plant_lines(source, measured, job, [{"step_name": "open", "timestamp": NOON + 3 * DAY}])
    late = verify(databases, settings)
    refresh(databases, settings)
    change_line(source, line, level="FATAL")
    edited = verify(databases, settings)
    refresh(databases, settings)
    change_job(source, job, workflow_id=measured.workflows[1])
    reassigned = verify(databases, settings)
    refresh(databases, settings)
    settled = verify(databases, settings)

    assert [report.steps.differences for report in (late, edited, reassigned, settled)] == [()] * 4
    assert [report.steps.cells_pending for report in (late, edited, reassigned, settled)] == [8, 8, 12, 0]


def test_an_organization_that_moves_takes_its_days_along(
    databases: Databases, settings: Settings, source: psycopg.Connection, measured: Tenant
) -> None:
    """Days, weeks and months begin where those of its jobs do; hours stay as they are."""
    source.execute(
        "UPDATE orchestration.organizations SET time_zone = 'America/New_York' WHERE id = %s",
        [measured.organization],
    )
    waits = verify(databases, settings)
    report = refresh(databases, settings)
    settled = verify(databases, settings)

    assert waits.steps.differences == settled.steps.differences == ()
    assert report.steps is not None
    assert report.steps.cells_written > 0
    assert settled.steps.cells_pending == 0
