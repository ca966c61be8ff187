"""`execmetrics serve` and `token`: the HTTP API with its page, and the ways in for trials of it."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from pipelines.cli.arguments import ORGANIZATION
from pipelines.cli.output import print_line, tell
from pipelines.errors import ExecutionMetricsError, UsageError

if TYPE_CHECKING:
    from pipelines.api.serving import Serving
    from pipelines.query.pool import ReadingPool
    from pipelines.settings import Settings

# As long as somebody tries it in one go.
_VALID_FOR: Final = timedelta(hours=12)

# The biggest ones, which have most to show.
_SHOWN: Final = 5


@dataclass(frozen=True)
class ApiServer:
    """An API that answers at an address; `token_of` signs what it believes, if its secret was made up."""

    serving: Serving
    address: str
    pool: ReadingPool
    reader_url: str
    token_of: Callable[[UUID], str] | None


@contextmanager
def api_server(settings: Settings, host: str, port: int, *, dev: bool) -> Iterator[ApiServer]:
    """Serve inside the block; `dev` makes up a secret.

    Raises `UsageError`, `NobodyTrusted`, `PortInUse`, `AddressNotUsable`.
    """
    with needing_the_api():
        from pipelines.api.app import create_app
        from pipelines.api.auth import signed, trust_of, trusting
        from pipelines.api.serving import serving
        from pipelines.query.pool import ReadingPool, reader_url

    secret, audience = secrets.token_urlsafe(32), settings.api_audience

    def token_of(organization_id: UUID) -> str:
        return signed(organization_id, secret, audience, _VALID_FOR)

    trust = trusting(secret, audience) if dev else trust_of(settings)
    with reader_url(settings) as url, ReadingPool(url, settings) as pool:
        app = create_app(settings, pool, trust)
        with serving(app, host, port) as server:
            yield ApiServer(server, server.address, pool, url, token_of if dev else None)


def print_ways_in(server: ApiServer, settings: Settings) -> None:
    """Print for the biggest organizations a link to their page and how a program asks, both as they are."""
    from pydantic import SecretStr

    from pipelines.postgres.connections import Run, open_databases
    from pipelines.runs.status import status

    assert server.token_of
    # A reader sees nobody in particular, so who writes is asked where that is known.
    known = settings.database_url or not settings.reader_url
    asked = settings if known else settings.model_copy(update={"database_url": SecretStr(server.reader_url)})
    with open_databases(asked) as databases:
        organizations = status(Run(databases, settings)).organizations
    for each in organizations[:_SHOWN]:
        token = server.token_of(each.organization_id)
        question = f"{server.address}/v1/organizations/{each.organization_id}/completeness"
        print_line()
        print_line(f"{each.name or each.organization_id}:")
        # A fragment stays in the browser: no server, proxy or log sees it.
        print_line(f"{server.address}/#token={token}")
        print_line(f"curl -H 'Authorization: Bearer {token}' {question}")
    if len(organizations) > _SHOWN:
        print_line()
        print_line(f"{len(organizations) - _SHOWN:,} smaller organizations are not shown.")


def serve(
    host: Annotated[str, typer.Option(help="At which address of this machine it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0: any free port.")] = 8000,
    dev: Annotated[
        bool, typer.Option("--dev", help="Make up a secret, and print links that are signed with it.")
    ] = False,
) -> None:
    """Serve the HTTP API and the dashboard until Ctrl-C."""
    from pipelines.settings import load_settings

    settings = load_settings()
    with api_server(settings, host, port, dev=dev) as server:
        print_line(f"API: {server.address} (Ctrl-C ends it)")
        print_line(f"Dashboard: {server.address}/")
        if dev:
            print_ways_in(server, settings)
        sys.stdout.flush()
        if not dev:
            _warn_of_a_writer(server.pool)
        server.serving.wait()


def _warn_of_a_writer(pool: ReadingPool) -> None:
    # A database that does not answer yet is none: whoever asks is told.
    with suppress(ExecutionMetricsError):
        if pool.sees_every_tenant():
            tell(
                "This database role may write, or bypasses row-level security, and is shown every"
                " organization's rows: set EXECMETRICS_READER_URL to one that may only read"
                " (execmetrics grants)."
            )


_MOST_HOURS: Final = 24 * 366
_WHOSE: Final = f"Whose metrics its bearer may read: {ORGANIZATION}, once it has any."
_BEARER: Final = typer.Option(metavar="ORG", help=_WHOSE)


def token(
    organization: Annotated[str, _BEARER],
    hours: Annotated[int, typer.Option(min=1, max=_MOST_HOURS, help="How long it is good for.")] = 8,
) -> None:
    """Print a token for the HTTP API, signed with EXECMETRICS_API_SECRET; for development."""
    with needing_the_api():
        from pipelines.api.auth import signed
    from pipelines.postgres.connections import Run, open_databases
    from pipelines.runs.organizations import id_written, organizations_called, published
    from pipelines.settings import load_settings

    settings = load_settings()
    if not settings.api_secret:
        raise UsageError("A token is signed with EXECMETRICS_API_SECRET, which is not set.")
    key = id_written(organization)
    if key is None:
        # A database is asked, and perhaps started, only about what is no id.
        with open_databases(settings) as databases:
            (key,) = organizations_called([organization], Run(databases, settings), published)
    secret = settings.api_secret.get_secret_value()
    print_line(signed(key, secret, settings.api_audience, timedelta(hours=hours)))


@contextmanager
def needing_the_api() -> Iterator[None]:
    """Raise `UsageError` where a package of the extra `api` cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as missing:
        needed = f"The HTTP API needs the packages of the extra `api`, and {missing.name} is not installed."
        raise UsageError(needed) from missing
