"""`execmetrics dev` and `demo`, and Dagster as a process of its own that ends with all it has started."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from pipelines.cli.arguments import AsJson, opened
from pipelines.cli.output import print_json, print_line, print_table, spinning, watched
from pipelines.cli.reports import print_comparison
from pipelines.cli.serve import api_server, print_ways_in
from pipelines.errors import DagsterFailed, InvalidSetting, PortInUse, UsageError

if TYPE_CHECKING:
    from datetime import date

    from pipelines.devtools.generated_month import FailingWorkflow, GeneratedMonth, OrganizationMonth, Written
    from pipelines.postgres.connections import Run
    from pipelines.runs.verify import VerifyReport
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


def environment(run: Run, *, first_day: date | None) -> dict[str, str]:
    """The environment of a Dagster that shares our databases and home.

    Its partitions begin on the `first_day` with jobs, where that is known and nobody has set another.
    """
    since = run.settings.partitions_since
    if first_day and "partitions_since" not in run.settings.model_fields_set:
        since = min(first_day, datetime.now(UTC).date())
    return os.environ | {
        "DAGSTER_HOME": str(dagster_home(run.settings)),
        # One write for a range of partitions instead of one for each of them.
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "EXECMETRICS_HOME": str(run.settings.home.resolve()),
        "EXECMETRICS_PARTITIONS_SINCE": since.isoformat(),
        "EXECMETRICS_DATABASE_URL": run.databases.analytics_url,
        "EXECMETRICS_SOURCE_URL": run.databases.source_url,
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
    with opened() as run:
        migrate(run)
        make_months_ahead(run)
        arguments = ["dev", "-w", str(CHECKOUT / "workspace.yaml"), "--host", _HOST, "--port", str(port)]
        variables = environment(run, first_day=find_first_day(run.settings))
        with (
            api_server(run.settings, _HOST, dashboard_port, dev=True) as server,
            dagster(arguments, variables, sys.stderr.fileno()) as process,
        ):
            address = address_of(port)
            with spinning("The Dagster UI is starting."):
                _wait_for(address, process)
            print_line(f"Dagster UI: {address} (Ctrl-C ends it)")
            print_line(f"Dashboard: {server.address}/")
            print_ways_in(server, run.settings)
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


@dataclass(frozen=True)
class _Shown:
    """What the demo found out, and how long each part of it took."""

    month: GeneratedMonth
    written: Written
    biggest_organizations: list[OrganizationMonth]
    failing_workflow: FailingWorkflow | None
    verification: VerifyReport
    seconds: dict[str, float]


def demo(
    jobs: Annotated[
        int, typer.Option(min=10_000, max=50_000_000, help="About how many jobs, unless the month is there.")
    ] = 240_000,
    as_json: AsJson = False,
) -> None:
    """Generate a month of work, aggregate it through Dagster, show what it tells, verify every figure."""
    with opened() as run:
        shown = _shown(run, jobs)
    if as_json:
        print_json(shown)
    else:
        _print(shown)
    if shown.verification.differences:
        raise typer.Exit(1)


def _shown(run: Run, jobs: int) -> _Shown:
    from pipelines.devtools import generated_month as months
    from pipelines.postgres.connections import Stages, connect
    from pipelines.postgres.migrations import migrate
    from pipelines.runs.verify import verify

    if months.serves_others(run, jobs=jobs):
        raise UsageError(
            "These databases serve organizations that the demo did not make, so it writes nothing; unset"
            " EXECMETRICS_DATABASE_URL and EXECMETRICS_SOURCE_URL, or choose another EXECMETRICS_HOME."
        )
    begun = time.perf_counter()
    seconds: dict[str, float] = {}

    def lap(part: str) -> None:
        seconds[part] = round(time.perf_counter() - begun - sum(seconds.values()), 1)

    migrate(run)
    with watched() as progress:
        month = months.generate_month(replace(run, stages=Stages(progress)), jobs=jobs)
    lap("generate")
    with connect(run.databases.analytics_url, run.settings) as connection:
        before = months.get_written(connection)
    with spinning("Dagster materializes job_facts and aggregate_metrics."):
        _materialize(run, month)
    lap("materialize")
    with connect(run.databases.analytics_url, run.settings) as connection:
        written = months.get_written(connection, after=before.newest)
        biggest = months.find_biggest_organizations(connection, month.since)
        failing = months.find_failing_workflow(connection, month.since)
    with watched() as progress:
        verification = verify(replace(run, stages=Stages(progress)))
    lap("verify")
    return _Shown(month, written, biggest, failing, verification, seconds)


def _materialize(run: Run, month: GeneratedMonth) -> None:
    """Run the Dagster job of the hourly schedule, today: it covers every day from the month's first on."""
    tables = ("job_facts", "aggregate_metrics", "aggregate_step_metrics")
    # The command leaves out the job's own configuration, and takes one from a file only. JSON is YAML.
    config = dagster_home(run.settings) / "demo.yaml"
    config.write_text(json.dumps({"ops": {table: {"config": {"mode": "refresh"}} for table in tables}}))
    tags = dict.fromkeys(
        ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"),
        f"{datetime.now(UTC):%Y-%m-%d}",
    )
    arguments = ["job", "execute", "-m", "assets.definitions", "-d", str(CHECKOUT), "-j", "refresh"]
    arguments += ["--tags", json.dumps(tags), "-c", str(config)]
    log = dagster_home(run.settings) / "demo.log"
    variables = environment(run, first_day=month.since.date())
    with log.open("wb") as output, dagster(arguments, variables, output) as process:
        if process.wait() != 0:
            raise DagsterFailed(f"({log})")


def _print(shown: _Shown) -> None:
    month, seconds = shown.month, shown.seconds
    state = "Generated" if month.created else "Found"
    made = f"{month.jobs:,} jobs of {len(month.organization_ids)} organizations, {month.workflows} workflows"
    when = f"in {month.since:%B %Y} ({seconds['generate']} s)"
    print_line(f"{state} {made} and {month.clients} clients {when}.")
    written = f"{shown.written.cells:,} of {shown.written.all_cells:,} cells of aggregate_metrics"
    print_line(f"Dagster wrote {written} ({seconds['materialize']} s).")
    print_line()
    columns = ["organization", "jobs", "success rate %", "median ms", "p95 ms"]
    rows = (astuple(each)[1:] for each in shown.biggest_organizations)
    print_table(columns, rows, title="The biggest organizations", decimals=1)
    print_line()
    if failing := shown.failing_workflow:
        print_line(
            f"The workflow whose failures stand out: {failing.workflow} of {failing.organization}."
            f" From {failing.since:%Y-%m-%d %H:%M} to {failing.until:%H:%M} UTC {failing.failed_pct:.1f} % of"
            f" its {failing.total_executions:,} jobs failed; in the rest of the month"
            f" {failing.usual_failed_pct:.1f} % did."
        )
        print_line()
    print_comparison(shown.verification)
    print_line(f"(verified in {seconds['verify']} s)")
    print_line()
    pages = f"the dashboard at {address_of(DASHBOARD_PORT)} and the Dagster UI at {address_of(DAGSTER_PORT)}"
    print_line(f"make dev serves {pages}, and prints a link for each organization.")
