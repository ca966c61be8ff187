"""How the steps of one tenant's jobs ended and how long they took, over ranges made of what is stored."""

from datetime import datetime
from uuid import UUID

from pipelines.errors import WorkflowNotVisible
from pipelines.postgres.connections import Connection
from pipelines.query.figures import percentiles_of
from pipelines.query.ranges import Ranges
from pipelines.query.records import StepDurationStats
from pipelines.query.tenant import Tenant
from pipelines.query.tenant_reading import rows
from pipelines.subjects.dimensions import ALL_WORKFLOWS
from pipelines.subjects.steps import STEPS


class StepAnalyticsRepository:
    """One tenant's metrics of steps, read in the transaction of a connection; a question is one query.

    Raises `InvalidRange`, `RangeNotStored`, `WorkflowNotVisible` and `AnalyticsQueryError`.
    """

    def __init__(self, connection: Connection, tenant: Tenant) -> None:
        self._connection, self._tenant = connection, tenant
        self._ranges = Ranges(connection, tenant, STEPS.rollup)

    def get_step_duration_stats(
        self, workflow_id: UUID | None = None, *, since: datetime, until: datetime
    ) -> tuple[StepDurationStats, ...]:
        """Every step that ended in [since, until), of one workflow or of all, the longest together first."""
        sources = self._ranges.sources(frozenset(STEPS.dimension_columns), since, until)
        values = {
            "organization_id": self._tenant.organization_id,
            "workflow_id": workflow_id or ALL_WORKFLOWS,
            "all_workflows": ALL_WORKFLOWS,
            **sources.values,
        }
        found = rows(self._connection, "tenant_metrics/step_durations", values)
        if not found[0]["workflow_is_visible"]:
            raise WorkflowNotVisible
        return tuple(
            StepDurationStats(
                step_name=row["step_name"],
                total_executions=row["total_executions"],
                completed_executions=row["completed_executions"],
                warned_executions=row["warned_executions"],
                failed_executions=row["failed_executions"],
                timed_executions=row["timed_executions"],
                average_duration_ms=row["average_duration_ms"],
                min_duration_ms=row["min_duration_ms"],
                max_duration_ms=row["max_duration_ms"],
                percentiles=percentiles_of(row, sources),
            )
            for row in found
            if row["step_name"] is not None
        )
