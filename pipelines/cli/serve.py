"""`execmetrics serve`."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.api_server import api_server, print_ways_in
from pipelines.cli.output import print_line, tell
from pipelines.errors import ExecutionMetricsError

if TYPE_CHECKING:
    from pipelines.query.pool import ReadingPool


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
