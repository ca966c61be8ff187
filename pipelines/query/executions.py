"""One tenant's executions with the names of their workflows and clients, as they were last copied."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from pipelines.postgres.connections import Connection
from pipelines.query.tenant import Tenant, rows
from pipelines.subjects.dimensions import NO_CLIENT
from pipelines.subjects.jobs import Status

# A page of a list.
_ROWS: Final = 100

# Nothing is asked for in particular.
_ANY: Final = dict.fromkeys(
    ("job_id", "workflow_id", "client_id", "status", "after_created_at", "after_job"), None
)

# A moment as PostgreSQL writes it, which may be infinite, and the job.
Place = tuple[str, UUID]


@dataclass(frozen=True)
class ExecutionMetadata:
    """One execution as it was last copied; `place` is where a list goes on behind it.

    A time that a calendar cannot hold is None, so `is_deleted` tells what `deleted_at` may not. All that
    was committed in the source by `synced_at` is copied; it is None before the first sync.
    """

    organization_id: UUID
    job_id: UUID
    workflow_id: UUID
    workflow_name: str
    client_id: UUID | None
    client_name: str | None
    initiator_type: str | None
    status: Status
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    deleted_at: datetime | None
    is_deleted: bool
    last_synced_at: datetime
    synced_at: datetime | None
    place: Place


class ExecutionMetadataRepository:
    """One tenant's executions, read in the transaction of a connection to the source; one query a question.

    Soft-deleted ones are left out unless asked for. Raises `AnalyticsQueryError`.
    """

    def __init__(self, connection: Connection, tenant: Tenant) -> None:
        self._connection, self._tenant = connection, tenant

    def find_by_job(self, job_id: UUID, *, include_deleted: bool = False) -> ExecutionMetadata | None:
        """The execution, or None: absent, deleted, someone else's, or not copied yet."""
        found = self._rows(job_id=job_id, include_deleted=include_deleted, rows=1)
        return found[0] if found else None

    def find_recent(
        self,
        *,
        workflow_id: UUID | None = None,
        client: UUID | None = None,
        status: Status | None = None,
        include_deleted: bool = False,
        after: Place | None = None,
        rows: int = _ROWS,
    ) -> tuple[ExecutionMetadata, ...]:
        """The newest by creation, of one workflow, client (`NO_CLIENT`: those without) or status if named.

        `after` is the place of the last execution that was told, and the answer begins behind it.
        """
        created_at, job_id = after or (None, None)
        return self._rows(
            workflow_id=workflow_id,
            client_id=client,
            status=status,
            include_deleted=include_deleted,
            after_created_at=created_at,
            after_job=job_id,
            rows=rows,
        )

    def _rows(self, **values: object) -> tuple[ExecutionMetadata, ...]:
        mine = {"organization_id": self._tenant.organization_id, "no_client": NO_CLIENT}
        found = rows(self._connection, "tenant_metrics/execution_metadata", _ANY | values | mine)
        return tuple(
            ExecutionMetadata(
                **row | {"status": Status(row["status"]), "place": (row["place"], row["job_id"])}
            )
            for row in found
        )
