"""What a request is answered with, field by field."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import BaseModel, Field

from pipelines.api.answer import Answer, Page, stored
from pipelines.subjects.rollup import Period

_WORKFLOW: Final = "The workflow; null for all together."
_CLIENT: Final = "The client; null for all together, and for jobs without one."
_NO_CLIENT: Final = "Whether these are the jobs without a client."
_INITIATOR: Final = "What started the jobs; null for all together."
_NAME: Final = "What it is called; null when the source does not say."


class MetricAnswer(Answer):
    """A stored row; a dimension that is not broken down is null, a figure not asked for is left out."""

    period_start: datetime = stored("period_start")
    workflow_id: UUID | None = Field(description=_WORKFLOW)
    client_id: UUID | None = Field(description=_CLIENT)
    has_no_client: bool = Field(description=_NO_CLIENT)
    initiator_type: str | None = Field(description=_INITIATOR)
    total_executions: int | None = stored("total_executions", default=None)
    completed_executions: int | None = stored("completed_executions", default=None)
    failed_executions: int | None = stored("failed_executions", default=None)
    timed_executions: int | None = stored("timed_executions", default=None)
    success_rate_pct: float | None = stored("success_rate_pct", default=None)
    total_duration_ms: float | None = stored("total_duration_ms", default=None)
    average_duration_ms: float | None = stored("average_duration_ms", default=None)
    min_duration_ms: float | None = stored("min_duration_ms", default=None)
    max_duration_ms: float | None = stored("max_duration_ms", default=None)
    median_duration_ms: float | None = stored("median_duration_ms", default=None)
    p90_duration_ms: float | None = stored("p90_duration_ms", default=None)
    p95_duration_ms: float | None = stored("p95_duration_ms", default=None)
    p99_duration_ms: float | None = stored("p99_duration_ms", default=None)


class MetricsAnswer(Page):
    """Stored rows of one period, in the order of their keys."""

    period: Period = stored("period")
    measures: tuple[str, ...] = Field(description="The figures that each row has.")
    rows: tuple[MetricAnswer, ...]

    def columns(self) -> Sequence[str]:
        """The key of a row, and its figures."""
        key = (name for name, field in MetricAnswer.model_fields.items() if field.is_required())
        return [*key, *self.measures]

    def lines(self) -> Sequence[BaseModel]:
        """The rows."""
        return self.rows


class FiguresAnswer(Answer):
    """How the jobs of a range ended, and how long they took."""

    total_executions: int = Field(description="Jobs that completed in the range.")
    completed_executions: int = stored("completed_executions")
    failed_executions: int = stored("failed_executions")
    timed_executions: int = stored("timed_executions")
    success_rate_pct: float | None = Field(description="100 x completed / total; null without jobs.")
    average_duration_ms: float | None = stored("average_duration_ms")
    min_duration_ms: float | None = stored("min_duration_ms")
    max_duration_ms: float | None = stored("max_duration_ms")
    median_duration_ms: float | None = stored("median_duration_ms")
    p90_duration_ms: float | None = stored("p90_duration_ms")
    p95_duration_ms: float | None = stored("p95_duration_ms")
    p99_duration_ms: float | None = stored("p99_duration_ms")
    estimated: bool = Field(description="Whether median, p90, p95 and p99 are estimates: no, for one bucket.")
    relative_error: float | None = Field(
        description="How far median, p90, p95 and p99 are off at most, as a share: 0 when exact. Null when"
        " they are null although jobs are timed, because nothing that is kept tells them: no histograms are"
        " kept of a workflow, a client and an initiator type together, so only one week or month has them."
    )


class WhatOfAnswer(Answer):
    """Of what a summary is."""

    since: datetime
    until: datetime
    workflow_id: UUID | None = Field(description=_WORKFLOW)
    client_id: UUID | None = Field(description=_CLIENT)
    has_no_client: bool = Field(description=_NO_CLIENT)
    initiator_type: str | None = Field(description=_INITIATOR)


class WhichWorkflowAnswer(Answer):
    """Which workflow."""

    workflow_id: UUID
    name: str | None = Field(description=_NAME)


class WhichClientAnswer(Answer):
    """Which client."""

    client_id: UUID | None = Field(description="The client; null for the jobs without one.")
    has_no_client: bool = Field(description=_NO_CLIENT)
    name: str | None = Field(description=_NAME)


class WhichInitiatorAnswer(Answer):
    """Which initiator type."""

    initiator_type: str = Field(description="What started the jobs; `unknown` where they do not say.")


# Fields stand in the order of the bases from the last one on.
class SummaryAnswer(FiguresAnswer, WhatOfAnswer):
    """A range as a whole, or one workflow, client and initiator type of it."""


class WorkflowAnswer(FiguresAnswer, WhichWorkflowAnswer):
    """One workflow over a range."""


class ClientAnswer(FiguresAnswer, WhichClientAnswer):
    """One client over a range, or the jobs without one."""


class InitiatorAnswer(FiguresAnswer, WhichInitiatorAnswer):
    """What one initiator type started over a range."""


class WorkflowsAnswer(Page):
    """The workflows in use, those that take longest on average first, idle ones last."""

    since: datetime
    until: datetime
    workflows: tuple[WorkflowAnswer, ...]

    def columns(self) -> Sequence[str]:
        """Which workflow, and its figures."""
        return list(WorkflowAnswer.model_fields)

    def lines(self) -> Sequence[BaseModel]:
        """The workflows."""
        return self.workflows


class ClientsAnswer(Page):
    """The clients in use, those that take longest on average first, idle ones last."""

    since: datetime
    until: datetime
    clients: tuple[ClientAnswer, ...]

    def columns(self) -> Sequence[str]:
        """Which client, and its figures."""
        return list(ClientAnswer.model_fields)

    def lines(self) -> Sequence[BaseModel]:
        """The clients."""
        return self.clients


class InitiatorsAnswer(Page):
    """The initiator types that started jobs, those whose jobs take longest on average first."""

    since: datetime
    until: datetime
    initiators: tuple[InitiatorAnswer, ...]

    def columns(self) -> Sequence[str]:
        """Which initiator type, and its figures."""
        return list(InitiatorAnswer.model_fields)

    def lines(self) -> Sequence[BaseModel]:
        """The initiator types."""
        return self.initiators


class CompletenessAnswer(Answer):
    """Through when the metrics are complete."""

    organization_name: str | None = Field(
        description="What the organization is called; null when the source does not say."
    )
    complete_through: datetime = Field(description="Every job that completed before is in the metrics.")
    extracted_at: datetime = Field(description="When the source was last read, by its own clock.")
    published_at: datetime = Field(description="When the metrics were last published.")
    published_version: int = Field(description="The version of the facts that they agree with.")
    edition: int = Field(description="How often a repair, a rebuild or retention changed them since.")
    verified_at: datetime | None = Field(description="When they were last compared with the source.")
    time_zone: str = Field(description="Where days, weeks and months begin.")
