"""The jobs of one tenant, and what they returned."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from pipelines.executions.execution_records import Job, JobResult
from pipelines.executions.json_limits import checked_json
from pipelines.executions.of_tenant import OfTenant
from pipelines.executions.transactions import Row
from pipelines.subjects.jobs import Status


class JobRepository(OfTenant):
    """Jobs in the transaction of a unit of work; deleted ones are not there unless they are asked for."""

    def find_by_id(self, job_id: UUID, *, include_deleted: bool = False) -> Job | None:
        """One job, without what it returned."""
        for row in self._rows("jobs/find_by_id", job_id=job_id, include_deleted=include_deleted):
            return _job_of(row)
        return None

    def find_result(self, job_id: UUID, *, include_deleted: bool = False) -> JobResult | None:
        """What it returned, once the access is logged. Raises `AccessNotLogged`."""
        self._accesses.record("jobs.result", job_id=job_id)
        for row in self._rows("jobs/find_result", job_id=job_id, include_deleted=include_deleted):
            return JobResult(job_id=row["id"], result=row["result"])
        return None

    def create(
        self,
        workflow_id: UUID,
        *,
        client_id: UUID | None = None,
        initiator_type: str | None = None,
        status: Status = Status.PENDING,
        started_at: datetime | None = None,
        completed_at: datetime | None = None,
        result: Any = None,
    ) -> Job:
        """A new job. Raises `JsonTooLarge`, `RowRefused`, `WorkflowNotVisible` and `ClientNotVisible`."""
        (row,) = self._rows(
            "jobs/create",
            job_id=uuid4(),
            workflow_id=workflow_id,
            client_id=client_id,
            initiator_type=initiator_type,
            status=status.value,
            started_at=started_at,
            completed_at=completed_at,
            result=checked_json(result, "jobs.result", self._settings),
        )
        return _job_of(row)

    def delete(self, job_id: UUID) -> bool:
        """Soft-delete a job; whether there was one."""
        return bool(self._rows("jobs/delete", job_id=job_id, include_deleted=False))


def _job_of(row: Row) -> Job:
    return Job(
        id=row["id"],
        workflow_id=row["workflow_id"],
        client_id=row["client_id"],
        initiator_type=row["initiator_type"],
        status=Status(row["status"]),
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        updated_at=row["updated_at"],
        deleted_at=row["deleted_at"],
    )
