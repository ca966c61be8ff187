"""What one tenant's workflows and clients are called."""

from pipelines.postgres.connections import Connection
from pipelines.query.records import Named
from pipelines.query.tenant import Tenant
from pipelines.query.tenant_reading import rows


class NamesRepository:
    """The workflows and clients of one tenant that are in use. Raises `AnalyticsQueryError`."""

    def __init__(self, connection: Connection, tenant: Tenant) -> None:
        self._connection, self._tenant = connection, tenant

    def find_workflows(self) -> tuple[Named, ...]:
        """Its workflows, by name."""
        return self._named("tenant_metrics/workflows")

    def find_clients(self) -> tuple[Named, ...]:
        """Its clients, by name."""
        return self._named("tenant_metrics/clients")

    def _named(self, path: str) -> tuple[Named, ...]:
        values = {"organization_id": self._tenant.organization_id}
        return tuple(Named(id=row["id"], name=row["name"]) for row in rows(self._connection, path, values))
