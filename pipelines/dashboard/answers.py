"""What a request is answered with, field by field."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from pipelines.dashboard.answer import Answer, Page, stored
from pipelines.model.periods import Period


class MetricAnswer(Answer):
    """A stored row; a dimension that is not broken down is null, a figure not asked for is left out."""

    period_start: datetime = stored("period_start")
    workflow_id: UUID | None = Field(description="The workflow; null for all together.")
    client_id: UUID | None = Field(description="The client; null for all together, and for jobs without one.")
    has_no_client: bool = Field(description="Whether these are the jobs without a client.")
    initiator_type: str | None = Field(description="What started the jobs; null for all together.")
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
    relative_error: float = Field(description="How far estimates are off at most, as a share; 0 when exact.")


class WhatOfAnswer(Answer):
    """Of what a summary is."""

    since: datetime
    until: datetime
    workflow_id: UUID | None = Field(description="The workflow; null for all together.")


class WhichAnswer(Answer):
    """Which workflow."""

    workflow_id: UUID
    name: str | None = Field(description="What it is called; null when the source does not say.")


# Fields stand in the order of the bases from the last one on.
class SummaryAnswer(FiguresAnswer, WhatOfAnswer):
    """A range as a whole, or one workflow of it."""


class WorkflowAnswer(FiguresAnswer, WhichAnswer):
    """One workflow over a range."""


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


class ClientAnswer(Answer):
    """One client."""

    client_id: UUID
    name: str | None = Field(description="What it is called; null when the source does not say.")


class ClientsAnswer(Page):
    """The clients in use, by name."""

    clients: tuple[ClientAnswer, ...]

    def columns(self) -> Sequence[str]:
        """Which client."""
        return list(ClientAnswer.model_fields)

    def lines(self) -> Sequence[BaseModel]:
        """The clients."""
        return self.clients


class CompletenessAnswer(Answer):
    """Through when the metrics are complete."""

    complete_through: datetime = Field(description="Every job that completed before is in the metrics.")
    extracted_at: datetime = Field(description="When the source was last read, by its own clock.")
    published_at: datetime = Field(description="When the metrics were last published.")
    published_version: int = Field(description="The version of the facts that they agree with.")
    verified_at: datetime | None = Field(description="When they were last compared with the source.")
    time_zone: str = Field(description="Where days, weeks and months begin.")
