"""How a moment is written by whoever asks, and what it means."""

import re
from datetime import UTC, date, datetime, time
from typing import Final

from pipelines.errors import InvalidRange

# A date is a day of the organization's calendar, a naive datetime what the organization's clocks show, and
# any other datetime an instant. Typer takes no union of them, and every datetime is a date.
DayOrTime = date

# What a help or a description says of it.
MOMENT: Final = "a date or a time by the organization's clocks, or a time with its offset"

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)


def read_moment(text: str) -> DayOrTime | None:
    """A date as a date, a time with an offset as its instant in UTC, a time without one as a naive time.

    None for anything else.
    """
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if _TIME.fullmatch(text):
            read = datetime.fromisoformat(text.upper())
            return read.astimezone(UTC) if read.tzinfo else read
    except (ValueError, OverflowError):
        pass
    return None


def instant_of(moment: DayOrTime) -> datetime | None:
    """The instant that a moment is for every organization; None when it goes by the clocks of one."""
    return moment if isinstance(moment, datetime) and moment.tzinfo else None


def clock_time(moment: DayOrTime) -> datetime:
    """What the clocks show at a moment: the midnight that a date begins with, a time as it is written."""
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time())


def require_order(since: DayOrTime | None, until: DayOrTime | None) -> None:
    """Refuse a range that is empty or backwards for everybody; raises `InvalidRange`.

    A range that goes by the clocks at one end alone can be told only for an organization.
    """
    if since is None or until is None:
        return
    first, last = clock_time(since), clock_time(until)
    if (first.tzinfo is None) == (last.tzinfo is None) and first >= last:
        raise InvalidRange(f"({since.isoformat()} is not before {until.isoformat()})")
