"""What may be asked with a request, parameter by parameter; anything else is refused."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from pipelines.calendars.moments import MOMENT, DayOrTime, instant_of, read_moment
from pipelines.errors import ParameterRepeated
from pipelines.query.metrics import Place
from pipelines.query.records import EACH, Each, MetricRow
from pipelines.subjects.dimensions import (
    ALL_CLIENTS,
    ALL_INITIATORS,
    ALL_WORKFLOWS,
    NO_CLIENT,
    RESERVED_IDS,
    RESERVED_INITIATORS,
)
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period

# Whatever bucket a moment of these years is in, its start and its end have a date.
_YEARS: Final = range(2, 9998)


def moment(text: Any) -> DayOrTime:
    """Read a date, or an RFC 3339 time with or without its offset; raises ValueError."""
    found = read_moment(str(text))
    if found is None or found.year not in _YEARS:
        raise ValueError("Input is neither a date nor an RFC 3339 time, in which a + is written as %2B")
    return found


_LOCAL_TIME: Final = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?$"

# Nothing is left for pydantic to check, which would make a date of a time or a time of a date.
Moment = Annotated[
    Any,
    BeforeValidator(moment),
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [{"format": "date"}, {"format": "date-time"}, {"pattern": _LOCAL_TIME}],
        }
    ),
]


def each_once(request: Request) -> None:
    """Refuse two values for one parameter: programs disagree about which of them counts."""
    given = [name for name, _ in request.query_params.multi_items()]
    if len(given) > len(set(given)):
        raise ParameterRepeated


_LONGEST_INITIATOR: Final = 200
_NONE: Final = "none"


def _id(value: Any) -> UUID:
    """Read an id; raises ValueError, also for those that stand for something else in the tables."""
    found = value if isinstance(value, UUID) else UUID(str(value))
    if found in RESERVED_IDS:
        raise ValueError
    return found


def client_text(client_id: UUID | str) -> str:
    """How a query names a client, or the jobs without one."""
    return _NONE if client_id == NO_CLIENT else str(client_id)


def _workflow_id(value: Any) -> UUID:
    try:
        return _id(value)
    except ValueError:
        raise ValueError("Input is not the id of a workflow") from None


def _workflow(value: Any) -> UUID | Each:
    try:
        return EACH if value == EACH.value else _id(value)
    except ValueError:
        raise ValueError("Input is neither each nor the id of a workflow") from None


def _client_id(value: Any) -> UUID:
    try:
        return NO_CLIENT if value == _NONE else _id(value)
    except ValueError:
        raise ValueError("Input is neither none nor the id of a client") from None


def _client(value: Any) -> UUID | Each:
    try:
        return EACH if value == EACH.value else _client_id(value)
    except ValueError:
        raise ValueError("Input is neither each nor none nor the id of a client") from None


def _initiator_type(value: Any) -> str:
    text = str(value)
    if not _is_initiator(text) or text == EACH.value:
        raise ValueError("Input is not an initiator type")
    return text


def _initiator(value: Any) -> str | Each:
    text = str(value)
    if not _is_initiator(text):
        raise ValueError("Input is neither each nor an initiator type")
    return EACH if text == EACH.value else text


def _is_initiator(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_INITIATOR and "\0" not in text and text not in RESERVED_INITIATORS


def _measures(value: Any) -> tuple[str, ...]:
    """Each measure once, in the order of the table; those it does not have come behind."""
    # The framework takes a parameter that may be many values for one that is given many times.
    asked = {name for given in value for name in str(given).split(",")}
    return (
        *(name for name in JOBS.measure_columns if name in asked),
        *sorted(asked - set(JOBS.measure_columns)),
    )


def _one_of(*schemas: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "anyOf": list(schemas)})


_AN_ID: Final = {"format": "uuid"}
_AN_INITIATOR: Final = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": _LONGEST_INITIATOR})
_A_MEASURE: Final = f"({'|'.join(JOBS.measure_columns)})"

WorkflowId = Annotated[
    UUID, BeforeValidator(_workflow_id), WithJsonSchema({"type": "string", "format": "uuid"})
]
Workflow = Annotated[UUID | Each, BeforeValidator(_workflow), _one_of({"const": EACH.value}, _AN_ID)]
Client = Annotated[UUID | Each, BeforeValidator(_client), _one_of({"enum": [EACH.value, _NONE]}, _AN_ID)]
ClientId = Annotated[UUID, BeforeValidator(_client_id), _one_of({"const": _NONE}, _AN_ID)]
InitiatorType = Annotated[str, BeforeValidator(_initiator_type), _AN_INITIATOR]
Initiator = Annotated[str | Each, BeforeValidator(_initiator), _AN_INITIATOR]
Measures = Annotated[
    tuple[str, ...],
    BeforeValidator(_measures),
    WithJsonSchema({"type": "string", "pattern": f"^{_A_MEASURE}(,{_A_MEASURE})*$"}),
]


def after(row: MetricRow) -> str:
    """The text for the place of a row."""
    key = (
        row.period_start.isoformat(),
        str(row.workflow_id or ALL_WORKFLOWS),
        str(NO_CLIENT if row.has_no_client else row.client_id or ALL_CLIENTS),
        row.initiator_type or ALL_INITIATORS,
    )
    return urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def place(text: Any) -> Place:
    """Read what `after` wrote; raises ValueError."""
    try:
        padded = str(text) + "=" * (-len(str(text)) % 4)
        start, workflow, client, initiator = json.loads(urlsafe_b64decode(padded.encode("ascii")))
        begun = instant_of(moment(start))
        if begun is None or "\0" in initiator or not initiator.encode():
            raise ValueError
        found = begun, UUID(workflow), UUID(client), str(initiator)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError("Input is not the `next` of an earlier answer") from None
    return found


After = Annotated[
    Place,
    BeforeValidator(place),
    WithJsonSchema({"type": "string", "description": "The `next` of the answer before this one."}),
]


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
