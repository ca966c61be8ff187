"""What a tenant's executions are: frozen records, field by field."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pipelines.executions.rag_rule_columns import Payer, Rule
from pipelines.executions.screenshot_kinds import ScreenshotType
from pipelines.subjects.jobs import Status
from pipelines.subjects.steps import Level


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


@dataclass(frozen=True, kw_only=True)
class NewLogLine:
    """What a job says. `step_name` is the step that ended by it, if one did, and `duration_ms` its length."""

    job_id: UUID
    sequence: int
    level: Level
    timestamp: datetime
    step_name: str | None = None
    message: str | None = None
    duration_ms: float | None = None
    metadata: Any = None


@dataclass(frozen=True, kw_only=True)
class LogLine(NewLogLine):
    """The same once it is stored."""

    id: UUID

    @property
    def place(self) -> "LinePlace":
        """After which the next page begins."""
        return LinePlace(self.timestamp, self.sequence, self.id)


@dataclass(frozen=True, order=True)
class LinePlace:
    """Where a line stands among those of its job; the newest come first."""

    timestamp: datetime
    sequence: int
    id: UUID


@dataclass(frozen=True)
class Workflow:
    """What is executed, without its definition."""

    id: UUID
    name: str
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True)
class WorkflowDefinition:
    """What a workflow does, as JSON; None when it is not known."""

    workflow_id: UUID
    definition: Any


@dataclass(frozen=True)
class Screenshot:
    """A picture of an execution: where it is in blob storage, and what it is known by."""

    id: UUID
    job_id: UUID
    step_name: str | None
    screenshot_type: ScreenshotType
    image_reference: str
    image_size_bytes: int
    image_sha256: str
    captured_at: datetime
    created_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True)
class RagRules:
    """Which payers and rules retrieval found for a job."""

    job_id: UUID
    payers: tuple[Payer, ...]
    rules: tuple[Rule, ...]
    created_at: datetime
    deleted_at: datetime | None
