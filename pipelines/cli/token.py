"""`execmetrics token`."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer

from pipelines.cli.arguments import organization
from pipelines.cli.extra import needing_the_api
from pipelines.cli.output import print_line
from pipelines.errors import NothingToSignWith

_MOST_HOURS = 24 * 366


def token(
    organization_id: Annotated[
        UUID,
        typer.Option(
            "--organization", parser=organization, metavar="ID", help="Whose metrics its bearer may read."
        ),
    ],
    hours: Annotated[int, typer.Option(min=1, max=_MOST_HOURS, help="How long it is good for.")] = 8,
) -> None:
    """Print a token for the HTTP API, signed with EXECMETRICS_API_SECRET; for development."""
    with needing_the_api():
        from pipelines.dashboard.tokens import signed
    from pipelines.settings import load_settings

    settings = load_settings()
    if not settings.api_secret:
        raise NothingToSignWith
    secret = settings.api_secret.get_secret_value()
    print_line(signed(organization_id, secret, settings.api_audience, timedelta(hours=hours)))
