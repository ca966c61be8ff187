"""Steps are counted by their outcome and timed exactly, and follow whatever becomes of their lines."""

from datetime import UTC, datetime

import psycopg
import pytest

from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import refresh
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.postgres.steps.conftest import ALL, change_line, month_of, step_cells
from tests.support.planting import DAY, HOUR, NOON, Tenant, change_job, plant_job, plant_lines, plant_tenant

pytestmark = [pytest.mark.every_postgres, pytest.mark.usefixtures("neighbour")]


def test_a_step_is_counted_by_how_it_ended(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tenant: Tenant,
) -> None:
    """Levels up to INFO completed, WARN warned, ERROR and FATAL failed; a line without a step is none."""
    levels = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    job = plant_job(source, tenant)
    plant_lines(
        source,
        tenant,
        job,
        [{"step_name": "send", "level": level} for level in levels]
        + [{"level": "ERROR"}, {"step_name": "", "level": "ERROR"}],
    )

    report = refresh(databases, settings)

    assert report.steps is not None
    cell = month_of(analytics, tenant, "send")
    counts = ("total", "completed", "warned", "failed", "timed")
    assert [cell[f"{name}_executions"] for name in counts] == [6, 3, 1, 2, 0]
    assert cell["total_duration_ms"] == 0
    assert cell["average_duration_ms"] is None
    assert {name for *_, name in step_cells(analytics, tenant.organization)} == {"send"}
    assert len(step_cells(analytics, tenant.organization)) == 8


def test_a_negative_duration_is_counted_and_not_timed(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tenant: Tenant,
) -> None:
    """Figures are of honest durations alone, exact to the microsecond."""
    job = plant_job(source, tenant)
    durations = (-5, None, 0, 0.001, 1.5, 10, 1_000_000.25)
    plant_lines(source, tenant, job, [{"step_name": "open", "duration_ms": each} for each in durations])

    refresh(databases, settings)

    cell = month_of(analytics, tenant, "open")
    assert (cell["total_executions"], cell["timed_executions"]) == (7, 5)
    assert cell["total_duration_ms"] == 1_000_011.751
    assert (cell["min_duration_ms"], cell["max_duration_ms"]) == (0, 1_000_000.25)
    assert cell["median_duration_ms"] == 1.5
    assert cell["p90_duration_ms"] == pytest.approx(10 + 0.6 * (1_000_000.25 - 10), rel=1e-12)


def test_whatever_becomes_of_a_line_the_next_refresh_follows(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tenant: Tenant,
    neighbour: Tenant,
) -> None:
    """A late or edited line, a soft-deleted or reassigned job change the cells they left and entered."""
    job, other = plant_job(source, tenant), plant_job(source, tenant)
    first, second = plant_lines(
        source, tenant, job, [{"step_name": "send", "duration_ms": ms} for ms in (10, 20)]
    )
    plant_lines(source, tenant, other, [{"step_name": "send", "duration_ms": 40}])
    refresh(databases, settings)
    theirs = step_cells(analytics, neighbour.organization)
    assert refresh(databases, settings).steps.cells_written == 0

    change_line(source, first, duration_ms=70)
    refresh(databases, settings)
    assert month_of(analytics, tenant, "send")["total_duration_ms"] == 130

    change_line(source, second, timestamp=NOON - 40 * DAY)
    refresh(databases, settings)
    assert month_of_two(analytics, tenant) == {"2023-12": 20, "2024-01": 110}

    change_job(source, other, deleted_at=NOON)
    refresh(databases, settings)
    assert month_of_two(analytics, tenant) == {"2023-12": 20, "2024-01": 70}

    change_job(source, job, workflow_id=tenant.workflows[1])
    refresh(databases, settings)
    assert {workflow for _, _, workflow, _ in step_cells(analytics, tenant.organization)} == {
        ALL,
        tenant.workflows[1],
    }

    change_line(source, first, step_name=None)
    change_line(source, second, step_name="open")
    refresh(databases, settings)
    assert {name for *_, name in step_cells(analytics, tenant.organization)} == {"open"}
    assert step_cells(analytics, neighbour.organization) == theirs


def month_of_two(analytics: psycopg.Connection, tenant: Tenant) -> dict[str, float]:
    """How long the steps of each month took together."""
    return {
        f"{start:%Y-%m}": row["total_duration_ms"]
        for (period, start, workflow, _), row in step_cells(analytics, tenant.organization).items()
        if period == "month" and workflow == ALL
    }


def test_a_step_of_the_future_counts_when_its_time_has_come(
    databases: Databases,
    settings: Settings,
    source: psycopg.Connection,
    analytics: psycopg.Connection,
    tenant: Tenant,
) -> None:
    """Nobody writes the line again; the run that finds it due reads it by its timestamp."""
    soon = {"step_name": "send", "timestamp": datetime.now(UTC) + HOUR}
    plant_lines(source, tenant, plant_job(source, tenant), [soon])
    too_early = refresh(databases, settings.model_copy(update={"future_tolerance": HOUR / 2}))
    nothing = step_cells(analytics, tenant.organization)
    # As if the first run had been two hours ago.
    analytics.execute(
        "UPDATE analytics.watermarks SET extracted_at = extracted_at - interval '2 hours'"
        " WHERE subject = 'steps'"
    )

    refresh(databases, settings.model_copy(update={"future_tolerance": 2 * HOUR}))

    assert (too_early.steps.not_counted, nothing) == (1, {})
    assert len(step_cells(analytics, tenant.organization)) == 8


def test_a_source_without_readable_logs_has_no_steps(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> None:
    """Another program's source may have no such table, or another one of that name."""
    tenant = plant_tenant(source)
    plant_job(source, tenant)
    source.execute("DROP TABLE orchestration.execution_logs")
    without = refresh(databases, settings)
    source.execute("CREATE TABLE orchestration.execution_logs (id text, said text)")
    other = refresh(databases, settings)

    assert (without.steps, other.steps) == (None, None)
    assert without.cells_written > 0
    assert verify(databases, settings).steps.cells_compared == 0
    assert analytics.execute(
        "SELECT count(*) FROM analytics.watermarks WHERE subject = 'steps'"
    ).fetchone() == (0,)
