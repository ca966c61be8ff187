"""`execmetrics dev`."""

import errno
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from typing import Annotated, Final

import typer

from pipelines.cli.dagster_process import CHECKOUT, dagster, environment
from pipelines.cli.output import print_line
from pipelines.cli.progress import spinning
from pipelines.cli.session import opened
from pipelines.errors import DagsterFailed, PortInUse

_HOST: Final = "127.0.0.1"


def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the Dagster UI listens.")] = 3000,
) -> None:
    """Start the Dagster UI with its schedules, and the database it needs, until Ctrl-C."""
    from pipelines.storage.migrations import migrate

    _require_free(port)
    with opened() as (databases, settings):
        migrate(databases, settings)
        arguments = ["dev", "-w", str(CHECKOUT / "workspace.yaml"), "--host", _HOST, "--port", str(port)]
        with dagster(arguments, environment(databases, settings), sys.stderr.fileno()) as process:
            address = f"http://{_HOST}:{port}"
            with spinning("The Dagster UI is starting."):
                _wait_for(address, process)
            print_line(f"Dagster UI: {address} (Ctrl-C ends it)")
            sys.stdout.flush()
            process.wait()
            raise DagsterFailed("(its words are above)")


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
    while process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{address}/server_info", timeout=5):
            return
        time.sleep(0.2)
    raise DagsterFailed("(its words are above)")
