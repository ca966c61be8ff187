"""What may be asked with a request, parameter by parameter; anything else is refused."""

from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pipelines.dashboard.moments import Moment
from pipelines.dashboard.places import After
from pipelines.dashboard.values import Client, Initiator, Measures, Workflow, WorkflowId
from pipelines.model.metrics import FIGURE_COLUMNS
from pipelines.model.periods import Period

# A page that a browser still draws at once.
MOST_ROWS: Final = 1_000
_ROWS: Final = 500


class Query(BaseModel):
    """Nothing may be asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FormQuery(Query):
    """In which form."""

    format: Literal["json", "csv"] | None = Field(
        None, description="How the answer is written; without it, the header `Accept` decides."
    )


class PageQuery(FormQuery):
    """A page of named things."""

    limit: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS, description="How many at most.")
    after: UUID | None = Field(None, description="The `next` of the page before this one.")


class RangeQuery(FormQuery):
    """A range."""

    since: Moment = Field(
        description="From then on: RFC 3339 with its zone, or a date for its midnight in UTC."
    )
    until: Moment = Field(description="Before then, written likewise.")


class SummaryQuery(RangeQuery):
    """A range, of everything or of one workflow."""

    workflow: WorkflowId | None = Field(None, description="Only this workflow.")


class WorkflowsQuery(PageQuery, RangeQuery):
    """A page of workflows over a range."""


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
    measures: Measures = Field(FIGURE_COLUMNS, description="Which figures, by commas; without it, every one.")
    limit: int = Field(_ROWS, ge=1, le=MOST_ROWS, description="How many rows at most.")
    after: After | None = Field(None, description="The `next` of the page before this one.")
