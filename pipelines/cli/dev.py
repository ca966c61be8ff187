"""`execmetrics dev`, and Dagster as a process of its own that ends with all it has started."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from pipelines.cli.arguments import opened
from pipelines.cli.output import print_line, spinning
from pipelines.cli.serve import api_server, print_ways_in
from pipelines.errors import DagsterFailed, InvalidSetting, PortInUse

if TYPE_CHECKING:
    from datetime import date

    from pipelines.postgres.connections import Databases
    from pipelines.settings import Settings

CHECKOUT: Final = Path(__file__).resolve().parents[2]

# A run that is interrupted rolls back and lets go of the lock; servers wait for their clients.
_PATIENCE_S: Final = 20.0


def dagster_home(settings: Settings) -> Path:
    """The folder where Dagster keeps its runs, with the configuration for development unless it has one."""
    folder = settings.home.resolve() / "dagster"
    if "?" in str(folder):
        # Dagster writes the path into the URL of an SQLite database as it is.
        raise InvalidSetting("EXECMETRICS_HOME: Dagster cannot work below a folder whose path has ? in it.")
    folder.mkdir(parents=True, exist_ok=True)
    prepared, ours = CHECKOUT / "deploy" / "development" / "dagster.yaml", folder / "dagster.yaml"
    if prepared.is_file() and not ours.exists():
        shutil.copyfile(prepared, ours)
    return folder


def environment(databases: Databases, settings: Settings, *, first_day: date | None) -> dict[str, str]:
    """The environment of a Dagster that shares our databases and home.

    Its partitions begin on the `first_day` with jobs, where that is known and nobody has set another.
    """
    since = settings.partitions_since
    if first_day and "partitions_since" not in settings.model_fields_set:
        since = min(first_day, datetime.now(UTC).date())
    return os.environ | {
        "DAGSTER_HOME": str(dagster_home(settings)),
        # One write for a range of partitions instead of one for each of them.
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "EXECMETRICS_HOME": str(settings.home.resolve()),
        "EXECMETRICS_PARTITIONS_SINCE": since.isoformat(),
        "EXECMETRICS_DATABASE_URL": databases.analytics_url,
        "EXECMETRICS_SOURCE_URL": databases.source_url,
    }


@contextmanager
def dagster(
    arguments: Sequence[str], environment: dict[str, str], output: IO[Any] | int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a dagster command; when the block ends, so does every process that it has started."""
    command = [sys.executable, "-m", "dagster", *arguments]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
    # A group of its own: Ctrl-C reaches us alone, and we can end it as a whole.
    process = subprocess.Popen(command, env=environment, start_new_session=True, **streams)
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
    for number, patience in ((signal.SIGTERM, _PATIENCE_S / 2), (signal.SIGKILL, _PATIENCE_S / 4)):
        if _is_gone(process, number, patience):
            break
    process.wait()


def _is_gone(process: subprocess.Popen[bytes], number: int, patience: float) -> bool:
    """Ask what is left of the group to go, and wait until nobody is."""
    deadline = time.monotonic() + patience
    try:
        os.killpg(process.pid, number)
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    except (ProcessLookupError, PermissionError):
        return True
    return False


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
        variables = environment(databases, settings, first_day=find_first_day(settings))
        with (
            api_server(settings, _HOST, dashboard_port, dev=True) as server,
            dagster(arguments, variables, sys.stderr.fileno()) as process,
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


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the UI answers; raises `DagsterFailed` when it ends before that."""
    from urllib.request import ProxyHandler, build_opener

    # A proxy of the shell may know no way to this machine.
    direct = build_opener(ProxyHandler({}))
    while process.poll() is None:
        with suppress(OSError), direct.open(f"{address}/server_info", timeout=5):
            return
        time.sleep(0.2)
    raise DagsterFailed("(its words are above)")
