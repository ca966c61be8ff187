"""Logs with steps, and what their metrics should be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from pipelines.postgres.connections import Databases
from pipelines.runs.refresh import RefreshReport, refresh
from pipelines.runs.verify import Verified, verify
from pipelines.settings import Settings
from tests.support.oracle import ALL
from tests.support.planting import Tenant, plant_job, plant_lines, plant_tenant

KEY = ("period", "period_start", "workflow_id", "step_name")

StepCells = dict[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """A tenant whose steps are looked at, its source, and where its metrics are.

    A neighbour has steps of the same names at the same times, which take an hour.
    """

    databases: Databases
    settings: Settings
    source: psycopg.Connection
    analytics: psycopg.Connection
    tenant: Tenant
    neighbour: Tenant

    def plant(self, *lines: dict[str, Any], job: UUID | None = None, **columns: Any) -> list[UUID]:
        """Insert lines of a job, or of a new one with these columns, and give their ids."""
        return plant_lines(
            self.source, self.tenant, job or plant_job(self.source, self.tenant, **columns), lines
        )

    def change_line(self, log_id: UUID, **columns: Any) -> None:
        """Change columns of a line."""
        changed = ", ".join(f"{name} = %({name})s" for name in columns)
        self.source.execute(
            f"UPDATE orchestration.execution_logs SET {changed} WHERE id = %(log_id)s",
            columns | {"log_id": log_id},
        )

    def settle(self, zone: str) -> None:
        """Have the tenant live in a time zone."""
        settle(self.source, self.tenant, zone)

    def refresh(self, organizations: Sequence[UUID] = (), **changes: Any) -> RefreshReport:
        """Publish by these settings, but for some changes."""
        settings = self.settings.model_copy(update=changes)
        return refresh(self.databases, settings, organization_ids=organizations)

    def verify(self, organizations: Sequence[UUID] = ()) -> Verified:
        """What plain SQL on the source says of the stored cells of steps."""
        return verify(self.databases, self.settings, organization_ids=organizations).steps

    def cells(self, tenant: Tenant | None = None) -> StepCells:
        """The stored cells of steps of the tenant, or of another one."""
        return step_cells(self.analytics, (tenant or self.tenant).organization)

    def months(self, step: str) -> list[dict[str, Any]]:
        """The cells of a step in each month, of all workflows together, in their order."""
        found = self.cells().items()
        return [row for key, row in sorted(found, key=lambda cell: cell[0][:2]) if is_month(key, step)]


@pytest.fixture
def place(
    databases: Databases, settings: Settings, source: psycopg.Connection, analytics: psycopg.Connection
) -> Place:
    """A tenant without steps, and a neighbour who has some."""
    place = Place(
        databases, settings, source, analytics, plant_tenant(source), plant_tenant(source, "Neighbour")
    )
    lines = [{"step_name": name, "duration_ms": 3_600_000} for name in ("open", "send")]
    plant_lines(source, place.neighbour, plant_job(source, place.neighbour), lines)
    return place


def settle(source: psycopg.Connection, tenant: Tenant, zone: str) -> None:
    """Have a tenant live in a time zone."""
    source.execute(
        "UPDATE orchestration.organizations SET time_zone = %s WHERE id = %s", [zone, tenant.organization]
    )


def step_cells(analytics: psycopg.Connection, organization: UUID) -> StepCells:
    """The stored cells of steps of one organization, by period, its start, workflow and step."""
    with analytics.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT * FROM analytics.aggregate_step_metrics WHERE organization_id = %s", [organization]
        )
        return {tuple(row[name] for name in KEY): row for row in cursor}


def is_month(key: tuple[Any, ...], step: str) -> bool:
    """Whether a cell is that of a step in a month, of all workflows together."""
    return (key[0], *key[2:]) == ("month", ALL, step)
