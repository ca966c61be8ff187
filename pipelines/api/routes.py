"""What one organization may ask about its own metrics, and what the figures mean."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi import Query as Parameters

from pipelines.api.auth import admitted, context_of, identified, require_own
from pipelines.api.formats import Form, form_of, is_known, tag_of, written
from pipelines.api.params import (
    ClientsQuery,
    FormQuery,
    InitiatorsQuery,
    MetricsQuery,
    Query,
    RangeQuery,
    SummaryQuery,
    WorkflowsQuery,
    after,
    client_text,
    each_once,
)
from pipelines.api.problems import OF_A_TENANT, OF_ANYBODY
from pipelines.api.schemas import (
    TOLD,
    Answer,
    Breakdown,
    ClientsAnswer,
    CompletenessAnswer,
    DefinitionsAnswer,
    InitiatorsAnswer,
    MetricAnswer,
    MetricsAnswer,
    SummaryAnswer,
    WorkflowsAnswer,
    defined,
)
from pipelines.errors import OrganizationNotVisible, PageGone
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.ranges import Instants
from pipelines.query.records import Completeness, MetricRow, RangeFigures
from pipelines.query.tenant import Tenant
from pipelines.subjects.dimensions import NO_CLIENT
from pipelines.subjects.jobs import JOBS

router: Final = APIRouter(
    prefix="/v1/organizations/{organization_id}",
    tags=["one organization"],
    dependencies=[Depends(identified), Depends(each_once)],
    responses=OF_A_TENANT,
)
definitions_router: Final = APIRouter(
    prefix="/v1",
    tags=["meanings"],
    dependencies=[Depends(identified), Depends(each_once)],
    responses=OF_ANYBODY,
)

_ORGANIZATION: Final = (
    "The organization that the token names: its id, the source's own id of it, or its name (without a slash)."
)

KnownTags = Annotated[str | None, Header(description="The `ETag` of an answer that is still there.")]


@dataclass(frozen=True)
class Reading:
    """What a tenant reads in the transaction of its request."""

    metrics: AnalyticsRepository
    completeness: Completeness

    def range_of(self, query: RangeQuery) -> Instants:
        """[since, until) of a query as instants, by the tenant's clocks; raises `InvalidRange`."""
        return self.metrics.get_instants(query.since, query.until)


class Desk:
    """Where the question of one request is answered."""

    def __init__(
        self,
        request: Request,
        tenant: Annotated[Tenant, Depends(admitted)],
        organization_id: Annotated[str, Path(description=_ORGANIZATION)],
        if_none_match: KnownTags = None,
    ) -> None:
        self._request, self._tenant, self._known = request, tenant, if_none_match
        self._asked = organization_id

    def answer(self, query: FormQuery, question: Callable[[Reading], Answer]) -> Response:
        """The answer, or that it is still the one that the caller has.

        Raises `OrganizationNotVisible`, `DatabaseUnreachable`, and whatever the question does.
        """
        form, context = form_of(self._request, query), context_of(self._request)
        with context.pool.reading_as(self._tenant) as connection:
            metrics = AnalyticsRepository(connection, self._tenant, context.plan)
            completeness = metrics.get_completeness()
            if completeness is None:
                raise OrganizationNotVisible
            require_own(self._asked, self._tenant, completeness.organization_name)
            # Whatever is written for the tenant moves its completeness.
            asked = self._request.url.path, self._request.url.query, form
            tag = tag_of(*asked, astuple(completeness), JOBS.definition(context.plan))
            if is_known(tag, self._known):
                return Response(status_code=304, headers={"ETag": tag})
            answer = question(Reading(metrics, completeness))
        return written(answer, form, self._request, tag)


AtDesk = Annotated[Desk, Depends()]


@router.get("/metrics", response_model=MetricsAnswer)
def metrics(desk: AtDesk, query: Annotated[MetricsQuery, Parameters()]) -> Response:
    """The stored rows of a period that begin in a range, page by page."""

    def question(reading: Reading) -> MetricsAnswer:
        since, until = reading.range_of(query)
        found = reading.metrics.get_metrics(
            period=query.period,
            since=since,
            until=until,
            measures=query.measures,
            after=query.after,
            rows=query.limit + 1,
            workflow_id=query.workflow,
            client_id=query.client,
            initiator_type=query.initiator,
        )
        rows = found[: query.limit]
        return MetricsAnswer(
            period=query.period,
            measures=query.measures,
            rows=tuple(_metric(row) for row in rows),
            next=after(rows[-1]) if len(found) > len(rows) else None,
        )

    return desk.answer(query, question)


@router.get("/summary", response_model=SummaryAnswer)
def summary(desk: AtDesk, query: Annotated[SummaryQuery, Parameters()]) -> Response:
    """How many jobs completed in a range, and how long they took: exact, or estimated and said to be."""

    def question(reading: Reading) -> Answer:
        since, until = reading.range_of(query)
        found = reading.metrics.get_total(since=since, until=until, **_named(query))
        return summary_answer(query, (since, until), found)

    return desk.answer(query, question)


@router.get("/workflows", response_model=WorkflowsAnswer)
def workflows(desk: AtDesk, query: Annotated[WorkflowsQuery, Parameters()]) -> Response:
    """Every workflow in use over a range, those that take longest on average first, idle ones last."""
    return _broken_down(desk, query, "workflow_id", WorkflowsAnswer)


@router.get("/clients", response_model=ClientsAnswer)
def clients(desk: AtDesk, query: Annotated[ClientsQuery, Parameters()]) -> Response:
    """Every client in use over a range, and the jobs without one, in the order of the workflows."""
    return _broken_down(desk, query, "client_id", ClientsAnswer)


@router.get("/initiators", response_model=InitiatorsAnswer)
def initiators(desk: AtDesk, query: Annotated[InitiatorsQuery, Parameters()]) -> Response:
    """Every initiator type that started jobs in a range, in the order of the workflows."""
    return _broken_down(desk, query, "initiator_type", InitiatorsAnswer)


@router.get("/completeness", response_model=CompletenessAnswer)
def completeness(desk: AtDesk, query: Annotated[FormQuery, Parameters()]) -> Response:
    """Through when the metrics are complete, and of when they are."""
    return desk.answer(query, lambda reading: CompletenessAnswer(**asdict(reading.completeness)))


@definitions_router.get("/definitions", response_model=DefinitionsAnswer)
def definitions(
    request: Request, _query: Annotated[Query, Parameters()], if_none_match: KnownTags = None
) -> Response:
    """What each measure means, its unit, whether it may be added up, and which combinations are stored."""
    answer = defined(context_of(request).plan).model_dump_json()
    tag = tag_of(answer)
    if is_known(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(answer, headers={"ETag": tag}, media_type=Form.JSON)


def summary_answer(query: SummaryQuery, within: Instants, found: RangeFigures) -> Answer:
    """A range as a whole."""
    fields = {
        "since": within[0],
        "until": within[1],
        "workflow_id": query.workflow,
        "client_id": None if query.client == NO_CLIENT else query.client,
        "has_no_client": query.client == NO_CLIENT,
        "initiator_type": query.initiator,
    }
    return SummaryAnswer(**fields, **_figures(found))


def _broken_down(
    desk: Desk,
    query: WorkflowsQuery | ClientsQuery | InitiatorsQuery,
    by: str,
    answer: type[Breakdown],
) -> Response:
    """A page of the values of a dimension and their figures. Raises `PageGone`."""

    def question(reading: Reading) -> Breakdown:
        since, until = reading.range_of(query)
        every = reading.metrics.get_breakdown(by, since=since, until=until, **_named(query))
        page, last = _page_of(every, query)
        fields: dict[str, Any] = {answer.rows_field(): tuple(_row(answer.row(), by, each) for each in page)}
        return answer(since=since, until=until, next=last, **fields)

    return desk.answer(query, question)


def _named(query: Query) -> dict[str, UUID | str | None]:
    """The dimensions that a query names, by their columns."""
    return {each.column: getattr(query, each.short, None) for each in JOBS.dimensions}


def _page_of(
    every: Sequence[RangeFigures], query: WorkflowsQuery | ClientsQuery | InitiatorsQuery
) -> tuple[Sequence[RangeFigures], str | None]:
    """The part that follows `after`, and what the part behind it follows."""
    keys = [each.which for each in every]
    if query.after is not None and query.after not in keys:
        raise PageGone
    first = keys.index(query.after) + 1 if query.after is not None else 0
    last = min(first + query.limit, len(every))
    text = client_text(keys[last - 1]) if last < len(every) else None
    return every[first:last], text


def _row(model: type[Answer], by: str, found: RangeFigures) -> Answer:
    """One value of a dimension; a model has some of these fields."""
    which = None if found.has_no_client else found.which
    fields = {by: which, "has_no_client": found.has_no_client, "name": found.name, **_figures(found)}
    return model(**{name: value for name, value in fields.items() if name in model.model_fields})


def _metric(row: MetricRow) -> Answer:
    fields = {name: value for name, value in vars(row).items() if name not in ("period", "figures")}
    return MetricAnswer(**fields, **row.figures)


def _figures(found: RangeFigures) -> dict[str, Any]:
    told = {each.name: found[each.name] for each in TOLD}
    return {**told, "estimated": found.estimated, "relative_error": found.relative_error}
