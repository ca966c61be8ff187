"""The HTTP API with its page as a command serves it, and the ways in for who tries it out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from pipelines.cli.extra import needing_the_api
from pipelines.cli.output import print_line

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
    """An API that answers; `token_of` signs what it believes, if its secret was made up for it."""

    serving: Serving
    pool: ReadingPool
    reader_url: str
    token_of: Callable[[UUID], str] | None

    @property
    def address(self) -> str:
        """Where it answers."""
        return self.serving.address


@contextmanager
def api_server(settings: Settings, host: str, port: int, *, dev: bool) -> Iterator[ApiServer]:
    """Serve inside the block; `dev` makes up a secret.

    Raises `ApiNotInstalled`, `NobodyTrusted`, `PortInUse`, `AddressNotUsable`.
    """
    with needing_the_api():
        from pipelines.api.app import create_app
        from pipelines.api.serving import serving
        from pipelines.api.tokens import signed, trust_of, trusting
        from pipelines.query.pool import ReadingPool, reader_url

    secret, audience = secrets.token_urlsafe(32), settings.api_audience

    def token_of(organization_id: UUID) -> str:
        return signed(organization_id, secret, audience, _VALID_FOR)

    trust = trusting(secret, audience) if dev else trust_of(settings)
    with reader_url(settings) as url, ReadingPool(url, settings) as pool:
        app = create_app(settings, pool, trust)
        with serving(app, host, port) as server:
            yield ApiServer(server, pool, url, token_of if dev else None)


def print_ways_in(server: ApiServer, settings: Settings) -> None:
    """Print for the biggest organizations a link to their page and how a program asks, both as they are."""
    from pydantic import SecretStr

    from pipelines.postgres.connections import open_databases
    from pipelines.runs.status import status

    assert server.token_of
    # A reader sees nobody in particular, so who writes is asked where that is known.
    known = settings.database_url or not settings.reader_url
    asked = settings if known else settings.model_copy(update={"database_url": SecretStr(server.reader_url)})
    with open_databases(asked) as databases:
        organizations = status(databases, settings).organizations
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
