"""How a time is written in a query."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from pipelines.model.moments import read_moment

# Whatever bucket such a time is in, its start and its end have a date.
_EARLIEST, _LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)


def moment(text: Any) -> datetime:
    """Read a date as its midnight in UTC, or an RFC 3339 time with its zone; raises ValueError."""
    found = read_moment(str(text))
    if found is None or not _EARLIEST <= found <= _LATEST:
        raise ValueError(
            "Input is neither a date nor an RFC 3339 time with its zone, in which a + is written as %2B"
        )
    return found


Moment = Annotated[
    datetime,
    BeforeValidator(moment),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}),
]
