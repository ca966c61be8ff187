"""How workflows, clients, initiators and measures are named in a query: one, or each of them."""

from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BeforeValidator, WithJsonSchema

from pipelines.query.slices import EACH, Each
from pipelines.subjects.dimensions import NO_CLIENT, RESERVED_IDS, RESERVED_INITIATORS
from pipelines.subjects.jobs import JOBS

_LONGEST_INITIATOR: Final = 200
_NONE: Final = "none"


def _id(value: Any) -> UUID:
    """Read an id; raises ValueError, also for those that stand for something else in the tables."""
    found = value if isinstance(value, UUID) else UUID(str(value))
    if found in RESERVED_IDS:
        raise ValueError
    return found


def client_text(client_id: UUID) -> str:
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
