"""`execmetrics token`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from pipelines.cli.arguments import ORGANIZATION
from pipelines.cli.extra import needing_the_api
from pipelines.cli.output import print_line
from pipelines.errors import NothingToSignWith

if TYPE_CHECKING:
    from pipelines.settings import Settings

_MOST_HOURS = 24 * 366


def token(
    organization: Annotated[
        str,
        typer.Option(
            metavar="ORG", help=f"Whose metrics its bearer may read: {ORGANIZATION}, once it has any."
        ),
    ],
    hours: Annotated[int, typer.Option(min=1, max=_MOST_HOURS, help="How long it is good for.")] = 8,
) -> None:
    """Print a token for the HTTP API, signed with EXECMETRICS_API_SECRET; for development."""
    with needing_the_api():
        from pipelines.api.tokens import signed
    from pipelines.settings import load_settings

    settings = load_settings()
    if not settings.api_secret:
        raise NothingToSignWith
    secret = settings.api_secret.get_secret_value()
    print_line(signed(_called(organization, settings), secret, settings.api_audience, timedelta(hours=hours)))


def _called(organization: str, settings: Settings) -> UUID:
    """The organization that is meant; a database is asked, and perhaps started, only about what is no id."""
    from pipelines.postgres.connections import open_databases
    from pipelines.runs.organizations import id_written, organizations_called, published

    if key := id_written(organization):
        return key
    with open_databases(settings) as databases:
        (key,) = organizations_called([organization], databases, settings, published)
    return key
