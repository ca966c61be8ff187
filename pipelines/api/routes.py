"""What one organization may ask about its own metrics, and what the figures mean."""

from collections.abc import Callable
from dataclasses import asdict, astuple
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi import Query as Parameters

from pipelines.api.auth import admitted, context_of, require_own
from pipelines.api.formats import Form, form_of, is_known, tag_of, written
from pipelines.api.params import (
    BREAKDOWN_QUERIES,
    FormQuery,
    MetricsQuery,
    Query,
    SummaryQuery,
    after,
    each_once,
    text_of,
)
from pipelines.api.problems import OF_A_TENANT, OF_ANYBODY
from pipelines.api.schemas import (
    BREAKDOWNS,
    TOLD,
    Answer,
    CompletenessAnswer,
    DefinitionsAnswer,
    MetricAnswer,
    MetricsAnswer,
    SummaryAnswer,
    defined,
)
from pipelines.errors import OrganizationNotVisible, PageGone
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.records import Completeness, RangeFigures, said_of
from pipelines.query.tenant import Tenant
from pipelines.subjects.dimensions import Dimension
from pipelines.subjects.jobs import JOBS

router: Final = APIRouter(
    prefix="/v1/organizations/{organization_id}",
    tags=["one organization"],
    dependencies=[Depends(admitted), Depends(each_once)],
    responses=OF_A_TENANT,
)
definitions_router: Final = APIRouter(
    prefix="/v1",
    tags=["meanings"],
    dependencies=[Depends(admitted), Depends(each_once)],
    responses=OF_ANYBODY,
)

_ORGANIZATION: Final = (
    "The organization that the token names: its id, the source's own id of it, or its name (without a slash)."
)

KnownTags = Annotated[str | None, Header(description="The `ETag` of an answer that is still there.")]


# What is asked of a tenant's metrics, in the transaction of the request.
Question = Callable[[Any, AnalyticsRepository, Completeness], Answer]


def _answers(path: str, asked: type[FormQuery], answer: type[Answer]) -> Callable[[Question], Question]:
    """Serve a question under a path, by the parameters that it takes and the model of its answer.

    A caller who has the answer already is told so. It raises `OrganizationNotVisible`, `DatabaseUnreachable`,
    and whatever the question does.
    """

    def register(question: Question) -> Question:
        def endpoint(
            request: Request,
            tenant: Annotated[Tenant, Depends(admitted)],
            organization_id: Annotated[str, Path(description=_ORGANIZATION)],
            query: Annotated[asked, Parameters()],  # type: ignore[valid-type]
            if_none_match: KnownTags = None,
        ) -> Response:
            form, context = form_of(request, query), context_of(request)
            with context.pool.reading_as(tenant) as connection:
                metrics = AnalyticsRepository(connection, tenant, context.plan)
                completeness = metrics.get_completeness()
                if completeness is None:
                    raise OrganizationNotVisible
                require_own(organization_id, tenant, completeness.organization_name)
                # Whatever is written for the tenant moves its completeness.
                place, definition = (request.url.path, request.url.query), JOBS.definition(context.plan)
                tag = tag_of(*place, form, astuple(completeness), definition)
                if is_known(tag, if_none_match):
                    return Response(status_code=304, headers={"ETag": tag})
                found = question(query, metrics, completeness)
            return written(found, form, request, tag)

        served = router.get(f"/{path}", name=path, description=question.__doc__, response_model=answer)
        served(endpoint)
        return question

    return register


@_answers("metrics", MetricsQuery, MetricsAnswer)
def metrics(query: Any, metrics: AnalyticsRepository, _completeness: Completeness) -> Answer:
    """The stored rows of a period that begin in a range, page by page."""
    since, until = metrics.get_instants(query.since, query.until)
    page = {"measures": query.measures, "after": query.after, "rows": query.limit + 1}
    found = metrics.get_metrics(period=query.period, since=since, until=until, **page, **_named(query))
    rows = found[: query.limit]
    return MetricsAnswer(
        period=query.period,
        measures=query.measures,
        rows=tuple(MetricAnswer(**row) for row in rows),
        next=after(rows[-1]) if len(found) > len(rows) else None,
    )


@_answers("summary", SummaryQuery, SummaryAnswer)
def summary(query: Any, metrics: AnalyticsRepository, _completeness: Completeness) -> Answer:
    """How many jobs completed in a range, and how long they took: exact, or estimated and said to be."""
    since, until = metrics.get_instants(query.since, query.until)
    named = _named(query)
    fields = {"since": since, "until": until}
    for each in JOBS.dimensions:
        fields |= said_of(each, named[each.column] or each.every)
    return SummaryAnswer(**fields, **_figures(metrics.get_total(since=since, until=until, **named)))


def _breakdown(by: Dimension) -> None:
    model = BREAKDOWNS[by.column]

    def breakdown(query: Any, metrics: AnalyticsRepository, _completeness: Completeness) -> Answer:
        since, until = metrics.get_instants(query.since, query.until)
        found = metrics.get_breakdown(by.column, since=since, until=until, **_named(query))
        keys = [each.which for each in found]
        if query.after is not None and query.after not in keys:
            raise PageGone
        first = keys.index(query.after) + 1 if query.after is not None else 0
        last = min(first + query.limit, len(found))
        following = text_of(by, keys[last - 1]) if last < len(found) else None
        rows: dict[str, Any] = {model.rows_field(): tuple(_row(by, each) for each in found[first:last])}
        return model(since=since, until=until, next=following, **rows)

    breakdown.__doc__ = model.__doc__
    _answers(f"{by.short}s", BREAKDOWN_QUERIES[by.column], model)(breakdown)


def _row(by: Dimension, found: RangeFigures) -> Answer:
    """One value of a dimension; a model without names leaves the name out."""
    model = BREAKDOWNS[by.column].row()
    fields = {**said_of(by, found.which), "name": found.name, **_figures(found)}
    return model(**{name: value for name, value in fields.items() if name in model.model_fields})


for _dimension in JOBS.dimensions:
    _breakdown(_dimension)


@_answers("completeness", FormQuery, CompletenessAnswer)
def completeness(_query: Any, _metrics: AnalyticsRepository, completeness: Completeness) -> Answer:
    """Through when the metrics are complete, and of when they are."""
    return CompletenessAnswer(**asdict(completeness))


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


def _named(query: Query) -> dict[str, Any]:
    """The dimensions that a query names, by their columns."""
    return {each.column: getattr(query, each.short, None) for each in JOBS.dimensions}


def _figures(found: RangeFigures) -> dict[str, Any]:
    figures = {each.name: found[each.name] for each in TOLD}
    return {**figures, "estimated": found.estimated, "relative_error": found.relative_error}
