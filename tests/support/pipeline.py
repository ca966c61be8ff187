"""A test's databases and settings, and what is planted, run and found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection

from pipelines.extract.request import Extraction, Request
from pipelines.postgres.connections import Databases, Run
from pipelines.publish.publisher import Published
from pipelines.runs import audit, dry_run, maintenance, refresh, verify
from pipelines.runs.status import Status, status
from pipelines.settings import Settings, load_settings
from tests.support import oracle, planting
from tests.support.planting import Cell, Key, Tenant, live_in

# A tenant, and a neighbour that must not change.
Pair = tuple[Tenant, Tenant]


@dataclass(frozen=True)
class Pipeline:
    """The databases and settings of a test, and connections to both that commit every statement."""

    databases: Databases
    settings: Settings
    source: Connection
    analytics: Connection

    @property
    def run(self) -> Run:
        """A new run on them."""
        return Run(self.databases, self.settings)

    def having(self, **settings: Any) -> Pipeline:
        """The same with other settings."""
        given = {name: getattr(self.settings, name) for name in self.settings.model_fields_set}
        return replace(self, settings=load_settings(**given | settings))

    def refresh(self, **asked: Any) -> refresh.RefreshReport:
        return refresh.refresh(self.run, **asked)

    def reconcile(self, **asked: Any) -> refresh.RefreshReport:
        return refresh.reconcile(self.run, **asked)

    def reconcile_created(self, **asked: Any) -> refresh.RefreshReport:
        return refresh.reconcile_created(self.run, **asked)

    def extract_changes(self, request: Request) -> Extraction:
        return refresh.extract_changes(self.run, request)

    def dry_run(self, **asked: Any) -> tuple[dry_run.OrganizationDryRun, ...]:
        return dry_run.dry_run(self.run, **asked)

    def rebuild(self) -> dict[str, Published]:
        return refresh.rebuild(self.run)

    def verify(self, **asked: Any) -> verify.VerifyReport:
        return verify.verify(self.run, **asked)

    def audit(self, **asked: Any) -> audit.AuditReport:
        return audit.audit(self.run, **asked)

    def retain(self, **asked: Any) -> maintenance.RetentionReport:
        return maintenance.retain(self.run, **asked)

    def tidy_facts(self) -> maintenance.TidyReport:
        return maintenance.tidy_facts(self.run)

    def status(self) -> Status:
        return status(self.run)

    def plant_tenant(self, name: str = "Acme", **more: Any) -> Tenant:
        return planting.plant_tenant(self.source, name, **more)

    def plant_beside_a_neighbour(self) -> Tenant:
        """A tenant, and a neighbour that has a job."""
        tenant = self.plant_tenant()
        self.plant_job(self.plant_tenant("Neighbour"))
        return tenant

    def plant_pair(self) -> Pair:
        """A tenant and a neighbour with a job each."""
        pair = self.plant_tenant(), self.plant_tenant("Neighbour")
        for each in pair:
            self.plant_job(each)
        return pair

    def plant_job(self, tenant: Tenant, **columns: Any) -> UUID:
        return planting.plant_job(self.source, tenant, **columns)

    def plant_jobs(self, tenant: Tenant, many: Sequence[dict[str, Any]]) -> tuple[UUID, ...]:
        return planting.plant_jobs(self.source, tenant, many)

    def change_job(self, job_id: UUID, **columns: Any) -> None:
        planting.change_job(self.source, job_id, **columns)

    def give_job(self, job_id: UUID, tenant: Tenant, **columns: Any) -> None:
        """Move a job to another organization, to a workflow and a client there."""
        owned = {"workflow_id": tenant.workflows[0], "client_id": tenant.clients[0]}
        self.change_job(job_id, organization_id=tenant.organization, **owned, **columns)

    def delete_jobs(self, *job_ids: UUID) -> None:
        self.source.execute("DELETE FROM orchestration.jobs WHERE id = any(%s)", [list(job_ids)])

    def delete_jobs_of(self, tenant: Tenant) -> None:
        delete = "DELETE FROM orchestration.jobs WHERE organization_id = %s"
        self.source.execute(delete, [tenant.organization])

    def live_in(self, tenant: Tenant, zone: str) -> None:
        live_in(self.source, tenant, zone)

    def select(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a query on the database of the aggregates."""
        return self.analytics.execute(query, values).fetchall()

    def cells(self, organization: UUID | None = None) -> dict[Key, Cell]:
        return planting.cells(self.analytics, organization)

    def totals(self, tenant: Tenant, period: str = "month") -> dict[datetime, Cell]:
        """The cells of all jobs of a tenant together, by the start of their bucket of that period."""
        every = (period, oracle.ALL, oracle.ALL, "all")
        found = self.cells(tenant.organization).items()
        return {key[2]: cell for key, cell in found if (key[1], *key[3:]) == every}

    def count(self, tenant: Tenant) -> int:
        """How many jobs of a tenant the months count."""
        return sum(cell["total_executions"] for cell in self.totals(tenant).values())

    def row_versions(self, organization: UUID | None = None) -> dict[Key, Key]:
        return planting.row_versions(self.analytics, organization)

    def listed(self, organization: UUID | None = None) -> set[tuple[UUID, str, str]]:
        return planting.listed(self.analytics, organization)

    def differences(self) -> list[str]:
        """How the stored cells differ from SQL on the source."""
        return oracle.differences(self.cells(), oracle.cells_by_sql(self.source))
