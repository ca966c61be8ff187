"""How a time is written in a query."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

from pipelines.calendars.moments import DayOrTime, read_moment

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
