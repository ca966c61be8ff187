"""What one organization may ask about its own metrics."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response

from pipelines.api.answering import Desk, Reading
from pipelines.api.answers import (
    ClientsAnswer,
    CompletenessAnswer,
    InitiatorsAnswer,
    MetricsAnswer,
    SummaryAnswer,
    WorkflowsAnswer,
)
from pipelines.api.auth import identified
from pipelines.api.documented import OF_A_TENANT
from pipelines.api.mapping import (
    clients_answer,
    completeness_answer,
    initiators_answer,
    metrics_answer,
    summary_answer,
    workflows_answer,
)
from pipelines.api.parameters import each_once
from pipelines.api.queries import (
    ClientsQuery,
    FormQuery,
    InitiatorsQuery,
    MetricsQuery,
    SummaryQuery,
    WorkflowsQuery,
)

router: Final = APIRouter(
    prefix="/v1/organizations/{organization_id}",
    tags=["one organization"],
    dependencies=[Depends(identified), Depends(each_once)],
    responses=OF_A_TENANT,
)

AtDesk = Annotated[Desk, Depends()]


@router.get("/metrics", response_model=MetricsAnswer)
def metrics(desk: AtDesk, query: Annotated[MetricsQuery, Query()]) -> Response:
    """The stored rows of a period that begin in a range, page by page."""

    def question(reading: Reading) -> MetricsAnswer:
        since, until = reading.range_of(query)
        found = reading.metrics.get_metrics(
            period=query.period,
            since=since,
            until=until,
            workflow=query.workflow,
            client=query.client,
            initiator=query.initiator,
            measures=query.measures,
            after=query.after,
            rows=query.limit + 1,
        )
        return metrics_answer(query, found)

    return desk.answer(query, question)


@router.get("/summary", response_model=SummaryAnswer)
def summary(desk: AtDesk, query: Annotated[SummaryQuery, Query()]) -> Response:
    """How many jobs completed in a range, and how long they took: exact, or estimated and said to be."""

    def question(reading: Reading) -> SummaryAnswer:
        since, until = reading.range_of(query)
        found = reading.metrics.get_execution_stats(
            since=since,
            until=until,
            workflow_id=query.workflow,
            client=query.client,
            initiator=query.initiator,
        )
        return summary_answer(query, (since, until), found)

    return desk.answer(query, question)


@router.get("/workflows", response_model=WorkflowsAnswer)
def workflows(desk: AtDesk, query: Annotated[WorkflowsQuery, Query()]) -> Response:
    """Every workflow in use over a range, those that take longest on average first, idle ones last."""

    def question(reading: Reading) -> WorkflowsAnswer:
        since, until = reading.range_of(query)
        found = reading.metrics.get_workflow_execution_stats(
            since=since, until=until, client=query.client, initiator=query.initiator
        )
        return workflows_answer(query, (since, until), found)

    return desk.answer(query, question)


@router.get("/clients", response_model=ClientsAnswer)
def clients(desk: AtDesk, query: Annotated[ClientsQuery, Query()]) -> Response:
    """Every client in use over a range, and the jobs without one, in the order of the workflows."""

    def question(reading: Reading) -> ClientsAnswer:
        since, until = reading.range_of(query)
        found = reading.metrics.get_client_execution_stats(
            since=since, until=until, workflow_id=query.workflow, initiator=query.initiator
        )
        return clients_answer(query, (since, until), found)

    return desk.answer(query, question)


@router.get("/initiators", response_model=InitiatorsAnswer)
def initiators(desk: AtDesk, query: Annotated[InitiatorsQuery, Query()]) -> Response:
    """Every initiator type that started jobs in a range, in the order of the workflows."""

    def question(reading: Reading) -> InitiatorsAnswer:
        since, until = reading.range_of(query)
        found = reading.metrics.get_initiator_execution_stats(
            since=since, until=until, workflow_id=query.workflow, client=query.client
        )
        return initiators_answer(query, (since, until), found)

    return desk.answer(query, question)


@router.get("/completeness", response_model=CompletenessAnswer)
def completeness(desk: AtDesk, query: Annotated[FormQuery, Query()]) -> Response:
    """Through when the metrics are complete, and of when they are."""
    return desk.answer(query, lambda reading: completeness_answer(reading.completeness))
