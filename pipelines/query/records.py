"""What a tenant is answered: frozen records, field by field."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipelines.errors import MetricsNotAdditive
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period


@dataclass(frozen=True)
class DurationStats:
    """How many jobs a range holds and how long they took; milliseconds, None when no job is timed."""

    total_executions: int
    completed_executions: int
    failed_executions: int
    timed_executions: int
    average_duration_ms: float | None
    min_duration_ms: float | None
    max_duration_ms: float | None

    @property
    def success_rate_pct(self) -> float | None:
        """100 x completed / total; None without jobs."""
        return 100.0 * self.completed_executions / self.total_executions if self.total_executions else None


@dataclass(frozen=True)
class DurationPercentiles:
    """Milliseconds within which so many of the `timed_executions` ended; None when there is none.

    Exact where the range is one stored bucket. Otherwise `estimated`: off by no more than `relative_error`,
    which is None, as they are, where nothing that is stored tells them.
    """

    timed_executions: int
    median_duration_ms: float | None
    p90_duration_ms: float | None
    p95_duration_ms: float | None
    p99_duration_ms: float | None
    estimated: bool
    relative_error: float | None


@dataclass(frozen=True)
class ExecutionStats:
    """How the jobs of a range ended and how long they took."""

    durations: DurationStats
    percentiles: DurationPercentiles


@dataclass(frozen=True)
class WorkflowExecutionStats(ExecutionStats):
    """One workflow over a range; `name` is None when the source has none."""

    workflow_id: UUID
    name: str | None


@dataclass(frozen=True)
class ClientExecutionStats(ExecutionStats):
    """One client over a range, or the jobs without one: `has_no_client`, with `client_id` None."""

    client_id: UUID | None
    has_no_client: bool
    name: str | None


@dataclass(frozen=True)
class InitiatorExecutionStats(ExecutionStats):
    """What one type of initiator started over a range; `unknown` where jobs do not say."""

    initiator_type: str


@dataclass(frozen=True)
class StepDurationStats:
    """One step over a range: how often it ended, and how, and how long it took; None when it is not timed."""

    step_name: str
    total_executions: int
    completed_executions: int
    warned_executions: int
    failed_executions: int
    timed_executions: int
    average_duration_ms: float | None
    min_duration_ms: float | None
    max_duration_ms: float | None
    percentiles: DurationPercentiles


@dataclass(frozen=True)
class MetricRow:
    """One stored row: `figures` by column name. A dimension that is not broken down is None.

    Jobs without a client are `has_no_client`, with `client_id` None; an unknown initiator is `unknown`.
    """

    period: Period
    period_start: datetime
    workflow_id: UUID | None
    client_id: UUID | None
    has_no_client: bool
    initiator_type: str | None
    figures: Mapping[str, float | None]

    @property
    def broken_down_by(self) -> tuple[Period, bool, bool, bool]:
        """Its period, and by which dimensions it is broken down: what rows that are added have in common."""
        client = self.client_id is not None or self.has_no_client
        return self.period, self.workflow_id is not None, client, self.initiator_type is not None


def added_up(
    rows: Sequence[MetricRow], measures: Collection[str] = JOBS.additive_columns
) -> Mapping[str, float]:
    """The sums of these rows' measures. Raises `MetricsNotAdditive` for what no sum means anything of."""
    mixed = len({row.broken_down_by for row in rows}) > 1
    others = sorted(set(measures) - set(JOBS.additive_columns))
    if mixed or others:
        raise MetricsNotAdditive(f"({', '.join(others)})" if others else "")
    return {name: sum(row.figures[name] or 0 for row in rows) for name in measures}


@dataclass(frozen=True)
class Named:
    """A workflow or client that is in use."""

    id: UUID
    name: str | None


@dataclass(frozen=True)
class Completeness:
    """Through when the metrics are complete, and of which version of the facts they are.

    `organization_name` is None when the source has none. Whatever changes a figure changes `published_at` or
    `edition`.
    """

    organization_name: str | None
    complete_through: datetime
    extracted_at: datetime
    published_at: datetime
    published_version: int
    edition: int
    verified_at: datetime | None
    time_zone: str
