"""The options that commands share, and how their text is read."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import typer

from pipelines.errors import InvalidOrganization, InvalidRange
from pipelines.model.moments import read_moment


def moment(text: str) -> datetime:
    """Read a date as its midnight in UTC, or an RFC 3339 time with its zone; raises `InvalidRange`."""
    found = read_moment(text)
    if found is None:
        raise InvalidRange(f"{text!r} is neither a date nor a time with its zone.")
    return found


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
