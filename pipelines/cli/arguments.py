"""What commands begin with: the options that they share, the settings, and databases to connect to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipelines.calendars.moments import MOMENT, DayOrTime, read_moment
from pipelines.cli import output
from pipelines.errors import InvalidRange

if TYPE_CHECKING:
    from pipelines.postgres.connections import Run


def moment(text: str) -> DayOrTime:
    """Read a date, or an RFC 3339 time with or without its offset; raises `InvalidRange`."""
    found = read_moment(text)
    if found is None:
        raise InvalidRange(f"{text!r} is neither a date nor a time.")
    return found


# How an organization is named, wherever a command takes one.
ORGANIZATION: Final = "its id, the source's own id of it, or its name"

_SINCE: Final = typer.Option("--since", parser=moment, metavar="T", help=f"From then on: {MOMENT}.")
_UNTIL: Final = typer.Option("--until", parser=moment, metavar="T", help=f"Before then: {MOMENT}.")

Since = Annotated[DayOrTime, _SINCE]
Until = Annotated[DayOrTime, _UNTIL]
AnySince = Annotated[DayOrTime | None, _SINCE]
AnyUntil = Annotated[DayOrTime | None, _UNTIL]
Organizations = Annotated[
    list[str] | None,
    typer.Option(
        "--organization",
        metavar="ORG",
        help=f"Only this organization ({ORGANIZATION}); may be given several times.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


@contextmanager
def opened(*, watched: bool = False) -> Iterator[Run]:
    """Yield a run; an embedded server runs meanwhile when no URL is set.

    A terminal shows how far a run is that is `watched`.
    """
    from pipelines.postgres.connections import Run, Stages, open_databases
    from pipelines.settings import load_settings

    settings = load_settings()
    with open_databases(settings) as databases, output.watched() if watched else nullcontext() as progress:
        yield Run(databases, settings, Stages(progress))
