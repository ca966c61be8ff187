"""What may be asked with a request, parameter by parameter; anything else is refused."""

from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pipelines.api.moments import Moment
from pipelines.api.places import After
from pipelines.api.values import (
    Client,
    ClientId,
    Initiator,
    InitiatorType,
    Measures,
    Workflow,
    WorkflowId,
)
from pipelines.calendars.moments import MOMENT
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period

# A page that a browser still draws at once.
MOST_ROWS: Final = 1_000
_ROWS: Final = 500

_AFTER: Final = "The `next` of the page before this one."


class Query(BaseModel):
    """Nothing may be asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FormQuery(Query):
    """In which form."""

    format: Literal["json", "csv"] | None = Field(
        None, description="How the answer is written; without it, the header `Accept` decides."
    )


class RangeQuery(FormQuery):
    """A range."""

    since: Moment = Field(
        description=f"From then on, in RFC 3339: {MOMENT}. `2026-06-01` is the organization's own midnight."
    )
    until: Moment = Field(
        description="Before then, written likewise: `since=2026-06-01&until=2026-07-01` is the whole of June."
    )


class OfWorkflow(Query):
    """Of everything or of one workflow."""

    workflow: WorkflowId | None = Field(None, description="Only this workflow.")


class OfClient(Query):
    """Of everything or of one client."""

    client: ClientId | None = Field(None, description="Only this client, or `none` for the jobs without one.")


class OfInitiator(Query):
    """Of everything or of one initiator type."""

    initiator: InitiatorType | None = Field(None, description="Only what this initiator type started.")


# Fields stand in the order of the bases from the last one on.
class SummaryQuery(OfInitiator, OfClient, OfWorkflow, RangeQuery):
    """A range, of everything or of one workflow, client and initiator type."""


class PageQuery(RangeQuery):
    """A page of what is in use over a range."""

    limit: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS, description="How many at most.")


class WorkflowsQuery(PageQuery, OfInitiator, OfClient):
    """A page of workflows."""

    after: UUID | None = Field(None, description=_AFTER)


class ClientsQuery(PageQuery, OfInitiator, OfWorkflow):
    """A page of clients."""

    after: ClientId | None = Field(None, description=_AFTER)


class InitiatorsQuery(PageQuery, OfClient, OfWorkflow):
    """A page of initiator types."""

    # Whatever the source calls one.
    after: str | None = Field(None, description=_AFTER)


class MetricsQuery(RangeQuery):
    """Stored rows: of which period, broken down by what, and which of their figures."""

    period: Period = Field(description="How long the buckets are.")
    workflow: Workflow | None = Field(
        None, description="A workflow, or `each` for a row each; without it, all workflows together."
    )
    client: Client | None = Field(
        None,
        description="A client, `none` for the jobs without one, or `each`; without it, all clients together.",
    )
    initiator: Initiator | None = Field(
        None, description="An initiator type, or `each`; without it, all initiators together."
    )
    measures: Measures = Field(
        JOBS.measure_columns, description="Which figures, by commas; without it, every one."
    )
    limit: int = Field(_ROWS, ge=1, le=MOST_ROWS, description="How many rows at most.")
    after: After | None = Field(None, description=_AFTER)
