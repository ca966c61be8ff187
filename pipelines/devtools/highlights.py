"""What a month's aggregates show at a glance, across all organizations: for operators, never for tenants."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from pipelines.postgres.statements import statement
from pipelines.subjects.dimensions import ALL_OF_EACH


@dataclass(frozen=True)
class OrganizationMonth:
    """How one organization's jobs of a month ended and how long they took."""

    organization_id: UUID
    name: str
    total_executions: int
    success_rate_pct: float
    median_duration_ms: float | None
    p95_duration_ms: float | None


@dataclass(frozen=True)
class FailingWorkflow:
    """A workflow whose jobs failed from `since` to `until` far more often than in the rest of the month."""

    organization_id: UUID
    organization: str
    workflow_id: UUID
    workflow: str
    since: datetime
    until: datetime
    failed_executions: int
    total_executions: int
    failed_pct: float
    usual_failed_pct: float


@dataclass(frozen=True)
class Written:
    """When the newest cell was written, how many were since the last look, and how many there are."""

    newest: datetime | None
    cells: int
    all_cells: int


def find_biggest_organizations(
    connection: psycopg.Connection, month: datetime, *, rows: int = 5
) -> list[OrganizationMonth]:
    """The organizations with the most jobs that completed in the month, the biggest first."""
    with connection.cursor(row_factory=class_row(OrganizationMonth)) as cursor:
        cursor.execute(
            statement("generated_month/biggest_organizations"), {"month": month, "rows": rows} | ALL_OF_EACH
        )
        return cursor.fetchall()


def find_failing_workflow(connection: psycopg.Connection, month: datetime) -> FailingWorkflow | None:
    """The workflow whose failures stand out most in the month; None where nothing failed unusually."""
    with connection.cursor(row_factory=class_row(FailingWorkflow)) as cursor:
        cursor.execute(statement("generated_month/standing_out_failures"), {"month": month} | ALL_OF_EACH)
        return cursor.fetchone()


def get_written(connection: psycopg.Connection, *, after: datetime | None = None) -> Written:
    """How many cells were written after a time; None, ever."""
    values: dict[str, Any] = {"after": after}
    with connection.cursor(row_factory=class_row(Written)) as cursor:
        written = cursor.execute(statement("checks/cells_computed_after"), values).fetchone()
    assert written is not None
    return written
