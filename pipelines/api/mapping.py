"""From the records of a repository to what is answered."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pipelines.api import places
from pipelines.api.answers import (
    ClientAnswer,
    ClientsAnswer,
    CompletenessAnswer,
    InitiatorAnswer,
    InitiatorsAnswer,
    MetricAnswer,
    MetricsAnswer,
    SummaryAnswer,
    WorkflowAnswer,
    WorkflowsAnswer,
)
from pipelines.api.paging import page_of
from pipelines.api.queries import (
    ClientsQuery,
    InitiatorsQuery,
    MetricsQuery,
    SummaryQuery,
    WorkflowsQuery,
)
from pipelines.api.values import client_text
from pipelines.query.ranges import Instants
from pipelines.query.records import (
    ClientExecutionStats,
    Completeness,
    ExecutionStats,
    InitiatorExecutionStats,
    MetricRow,
    WorkflowExecutionStats,
)
from pipelines.subjects.dimensions import NO_CLIENT


def metrics_answer(query: MetricsQuery, found: Sequence[MetricRow]) -> MetricsAnswer:
    """A page of stored rows; `found` has one row more where another page follows."""
    rows = found[: query.limit]
    return MetricsAnswer(
        period=query.period,
        measures=query.measures,
        rows=tuple(_metric(row) for row in rows),
        next=places.after(rows[-1]) if len(found) > len(rows) else None,
    )


def summary_answer(query: SummaryQuery, within: Instants, found: ExecutionStats) -> SummaryAnswer:
    """A range as a whole."""
    return SummaryAnswer(
        since=within[0],
        until=within[1],
        workflow_id=query.workflow,
        client_id=None if query.client == NO_CLIENT else query.client,
        has_no_client=query.client == NO_CLIENT,
        initiator_type=query.initiator,
        **_figures(found),
    )


def workflows_answer(
    query: WorkflowsQuery, within: Instants, found: Sequence[WorkflowExecutionStats]
) -> WorkflowsAnswer:
    """A page of workflows and their figures."""
    keys = [each.workflow_id for each in found]
    page, last = page_of(found, keys, query.limit, query.after)
    return WorkflowsAnswer(
        since=within[0],
        until=within[1],
        workflows=tuple(
            WorkflowAnswer(workflow_id=each.workflow_id, name=each.name, **_figures(each)) for each in page
        ),
        next=None if last is None else str(last),
    )


def clients_answer(
    query: ClientsQuery, within: Instants, found: Sequence[ClientExecutionStats]
) -> ClientsAnswer:
    """A page of clients and their figures."""
    keys = [each.client_id or NO_CLIENT for each in found]
    page, last = page_of(found, keys, query.limit, query.after)
    return ClientsAnswer(
        since=within[0],
        until=within[1],
        clients=tuple(
            ClientAnswer(
                client_id=each.client_id, has_no_client=each.has_no_client, name=each.name, **_figures(each)
            )
            for each in page
        ),
        next=None if last is None else client_text(last),
    )


def initiators_answer(
    query: InitiatorsQuery, within: Instants, found: Sequence[InitiatorExecutionStats]
) -> InitiatorsAnswer:
    """A page of initiator types and their figures."""
    keys = [each.initiator_type for each in found]
    page, last = page_of(found, keys, query.limit, query.after)
    return InitiatorsAnswer(
        since=within[0],
        until=within[1],
        initiators=tuple(
            InitiatorAnswer(initiator_type=each.initiator_type, **_figures(each)) for each in page
        ),
        next=last,
    )


def completeness_answer(found: Completeness) -> CompletenessAnswer:
    """Through when the metrics are complete."""
    return CompletenessAnswer(
        organization_name=found.organization_name,
        complete_through=found.complete_through,
        extracted_at=found.extracted_at,
        published_at=found.published_at,
        published_version=found.published_version,
        edition=found.edition,
        verified_at=found.verified_at,
        time_zone=found.time_zone,
    )


def _metric(row: MetricRow) -> MetricAnswer:
    return MetricAnswer(
        period_start=row.period_start,
        workflow_id=row.workflow_id,
        client_id=row.client_id,
        has_no_client=row.has_no_client,
        initiator_type=row.initiator_type,
        # Counts are whole numbers here, which a mapping of figures does not say.
        **cast(Mapping[str, Any], row.figures),
    )


def _figures(found: ExecutionStats) -> dict[str, Any]:
    durations, percentiles = found.durations, found.percentiles
    return {
        "total_executions": durations.total_executions,
        "completed_executions": durations.completed_executions,
        "failed_executions": durations.failed_executions,
        "timed_executions": percentiles.timed_executions,
        "success_rate_pct": durations.success_rate_pct,
        "average_duration_ms": durations.average_duration_ms,
        "min_duration_ms": durations.min_duration_ms,
        "max_duration_ms": durations.max_duration_ms,
        "median_duration_ms": percentiles.median_duration_ms,
        "p90_duration_ms": percentiles.p90_duration_ms,
        "p95_duration_ms": percentiles.p95_duration_ms,
        "p99_duration_ms": percentiles.p99_duration_ms,
        "estimated": percentiles.estimated,
        "relative_error": percentiles.relative_error,
    }
