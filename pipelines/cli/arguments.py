"""The options that commands share, and how their text is read."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

import typer

from pipelines.errors import InvalidOrganization, InvalidRange

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def moment(text: str) -> datetime:
    """Read a date as its midnight in UTC, or an RFC 3339 time with its zone; raises `InvalidRange`."""
    try:
        if _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        if _RFC_3339.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidRange(f"{text!r} is neither a date nor a time with its zone.")


def require_order(since: datetime | None, until: datetime | None) -> None:
    """Refuse a range that is empty or backwards before anything is opened; raises `InvalidRange`."""
    if since and until and since >= until:
        raise InvalidRange(f"({since.isoformat()} is not before {until.isoformat()})")


def organization(text: str) -> UUID:
    """Read the id of an organization; raises `InvalidOrganization`."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidOrganization(f"{text!r} is not one.") from None


_MOMENT: Final = "a date (midnight UTC) or an RFC 3339 time with its zone"

_SINCE: Final = typer.Option("--since", parser=moment, metavar="T", help=f"From then on: {_MOMENT}.")
_UNTIL: Final = typer.Option("--until", parser=moment, metavar="T", help=f"Before then: {_MOMENT}.")

Since = Annotated[datetime, _SINCE]
Until = Annotated[datetime, _UNTIL]
AnySince = Annotated[datetime | None, _SINCE]
AnyUntil = Annotated[datetime | None, _UNTIL]
Organizations = Annotated[
    list[UUID] | None,
    typer.Option(
        "--organization",
        parser=organization,
        metavar="ID",
        help="Only this organization; may be given several times.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
