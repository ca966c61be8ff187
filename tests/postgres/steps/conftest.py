"""Logs with steps, and what their metrics should be."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from psycopg.rows import dict_row

from tests.support.oracle import ALL
from tests.support.pipeline import Pipeline
from tests.support.planting import Tenant, plant_lines

KEY = ("period", "period_start", "workflow_id", "step_name")

StepCells = dict[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class StepPipeline(Pipeline):
    """The pipeline of a tenant whose steps are looked at.

    A neighbour has steps of the same names at the same times, which take an hour.
    """

    tenant: Tenant
    neighbour: Tenant

    def plant_lines(self, *lines: dict[str, Any], job: UUID | None = None, **columns: Any) -> list[UUID]:
        """Insert lines of a job, or of a new one with these columns, and give their ids."""
        return plant_lines(self.source, self.tenant, job or self.plant_job(self.tenant, **columns), lines)

    def change_line(self, log_id: UUID, **columns: Any) -> None:
        """Change columns of a line."""
        changed = ", ".join(f"{name} = %({name})s" for name in columns)
        change = f"UPDATE orchestration.execution_logs SET {changed} WHERE id = %(log_id)s"
        self.source.execute(change, columns | {"log_id": log_id})

    def step_cells(self, tenant: Tenant | None = None) -> StepCells:
        """The stored cells of steps of the tenant, or of another one, by period, start, workflow and step."""
        select = "SELECT * FROM analytics.aggregate_step_metrics WHERE organization_id = %s"
        with self.analytics.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(select, [(tenant or self.tenant).organization])
            return {tuple(row[name] for name in KEY): row for row in rows}

    def months(self, step: str) -> list[dict[str, Any]]:
        """The cells of a step in each month, of all workflows together, in their order."""
        found = sorted(self.step_cells().items(), key=lambda cell: cell[0][:2])
        return [row for key, row in found if (key[0], *key[2:]) == ("month", ALL, step)]


@pytest.fixture
def pipeline(pipeline: Pipeline) -> StepPipeline:
    """The pipeline of a tenant without steps, and of a neighbour that has some."""
    tenant, neighbour = pipeline.plant_tenant(), pipeline.plant_tenant("Neighbour")
    lines = [{"step_name": name, "duration_ms": 3_600_000} for name in ("open", "send")]
    plant_lines(pipeline.source, neighbour, pipeline.plant_job(neighbour), lines)
    return StepPipeline(**vars(pipeline), tenant=tenant, neighbour=neighbour)
