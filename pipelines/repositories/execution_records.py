"""What a tenant's executions are: frozen records, field by field."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pipelines.model.jobs import Status


@dataclass(frozen=True)
class Job:
    """One execution of a workflow, without what it returned."""

    id: UUID
    workflow_id: UUID
    client_id: UUID | None
    initiator_type: str | None
    status: Status
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True)
class JobResult:
    """What a job returned, as JSON: dictionaries, lists, texts, numbers, truths and None."""

    job_id: UUID
    result: Any
