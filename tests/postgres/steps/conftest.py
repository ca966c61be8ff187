"""Logs with steps, and what their metrics should be."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.planting import Tenant, plant_job, plant_lines, plant_tenant

KEY = ("organization_id", "period", "period_start", "workflow_id", "step_name")
ALL = UUID(int=0)


@pytest.fixture
def tenant(source: psycopg.Connection) -> Tenant:
    """Whose steps are looked at."""
    return plant_tenant(source)


@pytest.fixture
def neighbour(source: psycopg.Connection) -> Tenant:
    """Somebody else, whose steps have the same names at the same times and take an hour."""
    neighbour = plant_tenant(source, "Neighbour")
    job = plant_job(source, neighbour)
    plant_lines(
        source, neighbour, job, [{"step_name": name, "duration_ms": 3_600_000} for name in ("open", "send")]
    )
    return neighbour


def change_line(source: psycopg.Connection, log_id: UUID, **columns: Any) -> None:
    """Change columns of a line."""
    settings = ", ".join(f"{name} = %({name})s" for name in columns)
    source.execute(
        f"UPDATE orchestration.execution_logs SET {settings} WHERE id = %(log_id)s",
        columns | {"log_id": log_id},
    )


def step_cells(analytics: psycopg.Connection, organization: UUID) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The stored cells of steps of one organization, by period, its start, workflow and step."""
    with analytics.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT * FROM analytics.aggregate_step_metrics WHERE organization_id = %s", [organization]
        )
        return {tuple(row[name] for name in KEY[1:]): row for row in cursor}


def month_of(analytics: psycopg.Connection, tenant: Tenant, step: str) -> dict[str, Any]:
    """The one cell of a step in the month of NOON, of all workflows together."""
    found = [
        row
        for (period, _, workflow, name), row in step_cells(analytics, tenant.organization).items()
        if (period, workflow, name) == ("month", ALL, step)
    ]
    assert len(found) == 1, found
    return found[0]
