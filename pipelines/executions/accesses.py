"""Who read rows that may hold personal health data, written down before the rows are given out."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Final
from uuid import UUID

from pipelines.errors import AccessNotLogged, AccessUnexplained, ExecutionMetricsError
from pipelines.executions.transactions import rows
from pipelines.postgres.connections import Connection
from pipelines.query.tenant import Tenant

# Opens a connection that commits every statement by itself.
Opened = Callable[[], AbstractContextManager[Connection]]


class AccessLog:
    """The accesses of one caller to one tenant's rows, for one purpose.

    Each is committed over a connection of its own, so that a unit of work that is rolled back does not lose
    it; the connection is opened by the first access, and one that accesses nothing of the kind needs none.
    """

    def __init__(self, opened: Opened, tenant: Tenant, *, accessed_by: str, purpose: str) -> None:
        if not accessed_by.strip() or not purpose.strip():
            raise AccessUnexplained
        self._opened, self._stack = opened, ExitStack()
        self._connection: Connection | None = None
        self._said: Final = {
            "organization_id": tenant.organization_id,
            "accessed_by": accessed_by,
            "purpose": purpose,
        }

    def record(self, accessed: str, *, job_id: UUID | None = None) -> None:
        """Write one access: the table, and `.column` if it is one. Raises `AccessNotLogged`."""
        try:
            if self._connection is None:
                self._connection = self._stack.enter_context(self._opened())
            values = self._said | {"accessed": accessed, "job_id": job_id}
            rows(self._connection, "executions/record_access", values)
        except ExecutionMetricsError as failed:
            raise AccessNotLogged from failed

    def close(self) -> None:
        """Let the connection go."""
        self._stack.close()
