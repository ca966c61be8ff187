"""`execmetrics dev`."""

import errno
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Annotated, Final

import typer

from pipelines.cli.api_server import api_server, print_ways_in
from pipelines.cli.dagster_process import CHECKOUT, dagster, environment
from pipelines.cli.output import print_line
from pipelines.cli.progress import spinning
from pipelines.cli.session import opened
from pipelines.errors import DagsterFailed, PortInUse

_HOST: Final = "127.0.0.1"
DAGSTER_PORT: Final = 3000
DASHBOARD_PORT: Final = 8000


def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the Dagster UI listens.")] = DAGSTER_PORT,
    dashboard_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where the API and its page listen; 0: any free port.")
    ] = DASHBOARD_PORT,
) -> None:
    """Start the Dagster UI with its schedules, the dashboard, and the database they need, until Ctrl-C."""
    from pipelines.facts.fact_table import find_first_day
    from pipelines.postgres.migrations import migrate
    from pipelines.runs.log_retention import make_months_ahead

    _require_free(port)
    with opened() as (databases, settings):
        migrate(databases, settings)
        make_months_ahead(databases, settings)
        arguments = ["dev", "-w", str(CHECKOUT / "workspace.yaml"), "--host", _HOST, "--port", str(port)]
        with (
            api_server(settings, _HOST, dashboard_port, dev=True) as server,
            dagster(
                arguments,
                environment(databases, settings, first_day=find_first_day(settings)),
                sys.stderr.fileno(),
            ) as process,
        ):
            address = address_of(port)
            with spinning("The Dagster UI is starting."):
                _wait_for(address, process)
            print_line(f"Dagster UI: {address} (Ctrl-C ends it)")
            print_line(f"Dashboard: {server.address}/")
            print_ways_in(server, settings)
            sys.stdout.flush()
            process.wait()
            raise DagsterFailed("(its words are above)")


def address_of(port: int) -> str:
    """Where a browser finds what listens there."""
    return f"http://{_HOST}:{port}"


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        # As the server itself does: a connection of yesterday does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as refused:
            if refused.errno in (errno.EADDRINUSE, errno.EACCES):
                raise PortInUse(f"({port})") from refused
            raise


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    """Return when the UI answers; raises `DagsterFailed` when it ends before that."""
    from urllib.request import ProxyHandler, build_opener

    # A proxy of the shell may know no way to this machine.
    direct = build_opener(ProxyHandler({}))
    while process.poll() is None:
        with suppress(OSError), direct.open(f"{address}/server_info", timeout=5):
            return
        time.sleep(0.2)
    raise DagsterFailed("(its words are above)")
