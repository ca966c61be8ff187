"""How one tenant's question becomes a response: read in one transaction, and only if its answer is new."""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Annotated, Final

from fastapi import Depends, Header, Path, Request, Response

from pipelines.api.answer import Answer
from pipelines.api.auth import admitted, require_own
from pipelines.api.context import context_of
from pipelines.api.forms import form_of, written
from pipelines.api.queries import FormQuery, RangeQuery
from pipelines.api.tags import is_known, tag_of
from pipelines.errors import OrganizationNotVisible
from pipelines.query.metrics import AnalyticsRepository
from pipelines.query.ranges import Instants
from pipelines.query.records import Completeness
from pipelines.query.tenant import Tenant
from pipelines.subjects.jobs import JOBS

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
