"""`execmetrics serve`."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from pipelines.cli.extra import needing_the_api
from pipelines.cli.output import print_line, tell
from pipelines.errors import ExecutionMetricsError

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.storage.reading_pool import ReadingPool

# As long as somebody tries it in one go.
_VALID_FOR: Final = timedelta(hours=12)

# The biggest ones, which have most to show.
_SHOWN: Final = 5


def serve(
    host: Annotated[str, typer.Option(help="At which address of this machine it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0: any free port.")] = 8000,
    dev: Annotated[
        bool, typer.Option("--dev", help="Make up a secret, and print links that are signed with it.")
    ] = False,
) -> None:
    """Serve the HTTP API and the dashboard until Ctrl-C."""
    with needing_the_api():
        from pipelines.dashboard.app import create_app
        from pipelines.dashboard.serving import serving
        from pipelines.dashboard.tokens import signed
        from pipelines.dashboard.trust import trust_of, trusting
        from pipelines.storage.reading_pool import ReadingPool, reader_url
    from pipelines.settings import load_settings

    settings = load_settings()
    secret = secrets.token_urlsafe(32)
    trust = trusting(secret, settings.api_audience) if dev else trust_of(settings)
    with reader_url(settings) as url, ReadingPool(url, settings) as pool:
        app = create_app(settings, pool, trust)
        with serving(app, host, port) as server:
            print_line(f"API: {server.address} (Ctrl-C ends it)")
            print_line(f"Dashboard: {server.address}/")
            if dev:
                _invite(
                    settings,
                    url,
                    server.address,
                    lambda key: signed(key, secret, settings.api_audience, _VALID_FOR),
                )
            sys.stdout.flush()
            if not dev:
                _warn_of_a_writer(pool)
            server.wait()


def _warn_of_a_writer(pool: ReadingPool) -> None:
    # A database that does not answer yet is none: whoever asks is told.
    with suppress(ExecutionMetricsError):
        if pool.sees_every_tenant():
            tell(
                "This database role may write, or bypasses row-level security, and is shown every"
                " organization's rows: set EXECMETRICS_READER_URL to one that may only read"
                " (execmetrics grants)."
            )


def _invite(settings: Settings, url: str, address: str, token_of: Callable[[UUID], str]) -> None:
    """Print for the biggest organizations a link to their page and how a program asks, both as they are."""
    from pydantic import SecretStr

    from pipelines.status import status
    from pipelines.storage.database import open_databases

    # A reader sees nobody in particular, so who writes is asked where that is known.
    asked = (
        settings if settings.database_url else settings.model_copy(update={"database_url": SecretStr(url)})
    )
    with open_databases(asked) as databases:
        organizations = status(databases, settings).organizations
    for each in organizations[:_SHOWN]:
        token = token_of(each.organization_id)
        question = f"{address}/v1/organizations/{each.organization_id}/completeness"
        print_line()
        print_line(f"{each.name or each.organization_id}:")
        # A fragment stays in the browser: no server, proxy or log sees it.
        print_line(f"{address}/#token={token}")
        print_line(f"curl -H 'Authorization: Bearer {token}' {question}")
    if len(organizations) > _SHOWN:
        print_line()
        print_line(f"{len(organizations) - _SHOWN:,} smaller organizations are not shown.")
