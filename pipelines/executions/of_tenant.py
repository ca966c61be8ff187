"""What the repositories of executions have in common: a transaction, a tenant, and a log of accesses."""

from pipelines.executions.accesses import AccessLog
from pipelines.executions.transactions import Row, rows
from pipelines.postgres.connections import Connection
from pipelines.query.tenant import Tenant
from pipelines.settings import Settings


class OfTenant:
    """Statements in the transaction of a unit of work, each about one tenant's rows."""

    def __init__(
        self, connection: Connection, tenant: Tenant, accesses: AccessLog, settings: Settings
    ) -> None:
        self._connection, self._tenant = connection, tenant
        self._accesses, self._settings = accesses, settings

    def _rows(self, path: str, **values: object) -> list[Row]:
        mine = {"organization_id": self._tenant.organization_id}
        return rows(self._connection, path, values | mine)
