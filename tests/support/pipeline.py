"""A test's databases and settings, and what is planted, run and found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import psycopg

from pipelines.extract.request import Extraction, Request
from pipelines.postgres.connections import Databases
from pipelines.publish.publisher import Published
from pipelines.runs import audit, maintenance, refresh, verify
from pipelines.runs.status import Status, status
from pipelines.settings import Settings
from tests.support import oracle, planting
from tests.support.planting import Cell, Key, Tenant

# A tenant, and a neighbour that must not change.
Pair = tuple[Tenant, Tenant]


@dataclass(frozen=True)
class Pipeline:
    """The databases and settings of a test, and connections to both that commit every statement."""

    databases: Databases
    settings: Settings
    source: psycopg.Connection
    analytics: psycopg.Connection

    def having(self, **settings: Any) -> Pipeline:
        """The same with other settings."""
        return replace(self, settings=self.settings.model_copy(update=settings))

    def refresh(self, **asked: Any) -> refresh.RefreshReport:
        return refresh.refresh(self.databases, self.settings, **asked)

    def reconcile(self, **asked: Any) -> refresh.RefreshReport:
        return refresh.reconcile(self.databases, self.settings, **asked)

    def reconcile_created(self, **asked: Any) -> refresh.RefreshReport:
        return refresh.reconcile_created(self.databases, self.settings, **asked)

    def extract_changes(self, request: Request) -> Extraction:
        return refresh.extract_changes(self.databases, self.settings, request)

    def rebuild(self) -> dict[str, Published]:
        return refresh.rebuild(self.databases, self.settings)

    def verify(self, **asked: Any) -> verify.VerifyReport:
        return verify.verify(self.databases, self.settings, **asked)

    def audit(self, **asked: Any) -> audit.AuditReport:
        return audit.audit(self.databases, self.settings, **asked)

    def retain(self, **asked: Any) -> maintenance.RetentionReport:
        return maintenance.retain(self.databases, self.settings, **asked)

    def status(self) -> Status:
        return status(self.databases, self.settings)

    def plant_tenant(self, name: str = "Acme", **more: Any) -> Tenant:
        return planting.plant_tenant(self.source, name, **more)

    def plant_job(self, tenant: Tenant, **columns: Any) -> UUID:
        return planting.plant_job(self.source, tenant, **columns)

    def plant_jobs(self, tenant: Tenant, many: Sequence[dict[str, Any]]) -> tuple[UUID, ...]:
        return planting.plant_jobs(self.source, tenant, many)

    def change_job(self, job_id: UUID, **columns: Any) -> None:
        planting.change_job(self.source, job_id, **columns)

    def cells(self, organization: UUID | None = None) -> dict[Key, Cell]:
        return planting.cells(self.analytics, organization)

    def row_versions(self, organization: UUID | None = None) -> dict[Key, Key]:
        return planting.row_versions(self.analytics, organization)

    def listed(self, organization: UUID | None = None) -> set[tuple[UUID, str, str]]:
        return planting.listed(self.analytics, organization)

    def differences(self) -> list[str]:
        """How the stored cells differ from SQL on the source."""
        return oracle.differences(self.cells(), oracle.cells_by_sql(self.source))
