"""The installed program: its streams, its signals, and what it leaves behind, which is nothing."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest

from pipelines.postgres import embedded as embedded_postgres
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.migrations import migrate
from pipelines.settings import load_settings
from tests.postgres.cli.conftest import PROGRAM, server_processes, started
from tests.support.pipeline import Pipeline
from tests.support.standby_server import wait_until

# What is slow to import, each of which some command needs.
SLOW = {
    *("adbc_driver_manager", "alembic", "dagster", "deltalake", "duckdb", "fastapi", "obstore", "polars"),
    *("psycopg", "pydantic", "rich.progress", "sqlalchemy", "urllib.request", "uvicorn"),
}

COLOUR = re.compile(r"\x1b\[[0-9;]*[34][0-7][0-9;]*m")


def test_the_program_names_its_version() -> None:
    """`--version` is one line of data."""
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)

    assert re.fullmatch(r"execution-metrics \d+\.\d+\.\d+\n", said.stdout)
    assert said.stderr == ""


def test_the_help_imports_nothing_slow() -> None:
    """`--help` does not import what the commands need."""
    assert imported_by("--help") & SLOW == set()


def test_status_imports_what_it_uses(databases: Databases, tmp_path: Path) -> None:
    """It asks the database and the log of the facts; nothing that reads, computes or serves is imported."""
    imported = imported_by(
        "status", EXECMETRICS_DATABASE_URL=databases.analytics_url, EXECMETRICS_HOME=str(tmp_path)
    )

    assert imported & SLOW == {"deltalake", "psycopg", "pydantic"}


def test_psql_opens_the_embedded_database(embedded_home: Path) -> None:
    """Its server runs for as long as psql does; what psql prints is data, and its exit code ours."""
    with started(embedded_home, "psql", "--", "-Atc", "SELECT current_database()") as process:
        printed, said = process.communicate(timeout=60)
    with started(embedded_home, "psql", "--", "-Atc", "SELECT 1 / 0") as failing:
        failing.communicate(timeout=60)

    assert (process.returncode, printed, said) == (0, "execmetrics\n", "")
    assert failing.returncode == 1
    assert server_processes(embedded_home) == []


@pytest.mark.parametrize("no_color", ["", "1"])
def test_progress_is_drawn_on_a_terminal_only(pipeline: Pipeline, tmp_path: Path, no_color: str) -> None:
    """A watcher of stderr sees the stages, in colour unless NO_COLOR is set; stdout is the document alone."""
    pipeline.plant_job(pipeline.plant_tenant())
    ours, theirs = pty.openpty()
    environment = {
        "EXECMETRICS_DATABASE_URL": pipeline.databases.analytics_url,
        "NO_COLOR": no_color,
        "TERM": "xterm-256color",
    }

    with (
        # Read meanwhile, for a terminal that nobody reads holds up who draws on it.
        ThreadPoolExecutor() as reader,
        started(tmp_path, "refresh", "--json", stderr=theirs, env=environment) as process,
    ):
        os.close(theirs)
        drawing = reader.submit(read_all, ours)
        document = process.communicate(timeout=60)[0]
    drawn = drawing.result()

    assert process.returncode == 0
    assert document.startswith("{")
    assert "extract" in drawn
    assert bool(COLOUR.search(drawn)) is not bool(no_color)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_refresh_that_is_stopped_leaves_nothing(embedded_home: Path, number: signal.Signals) -> None:
    """Even while a statement waits, the run ends at once, its server stops, and no file of it stays."""
    with ExitStack() as until_it_runs:
        url = until_it_runs.enter_context(embedded_postgres.running(embedded_home))
        migrate(Run(Databases(url, url), load_settings(home=embedded_home)))
        blocker = psycopg.connect(url)
        blocker.execute("LOCK TABLE orchestration.jobs IN ACCESS EXCLUSIVE MODE")
        with started(embedded_home, "refresh") as process:
            wait_until(lambda: someone_waits(url))
            # From now on the program is the only one that holds the server.
            until_it_runs.close()
            process.send_signal(number)
            _, said = process.communicate(timeout=30)

    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert not server_processes(embedded_home)
    assert not list(embedded_home.glob("extract-*"))


@pytest.mark.only_in_everything
def test_dev_serves_until_it_is_told_to_stop(embedded_home: Path) -> None:
    """The UI and the dashboard answer at the printed addresses, and go with everything that was started.

    Even where a shell has started it in the background, and so had it ignore Ctrl-C, or knows a proxy.
    """
    port = free_port()
    shell = {
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        "env": {"http_proxy": "http://127.0.0.1:9"},
    }
    ports = "--port", str(port), "--dashboard-port", "0"
    with started(embedded_home, "dev", *ports, stderr=subprocess.DEVNULL, **shell) as process:
        assert process.stdout
        address = f"http://127.0.0.1:{port}"
        assert process.stdout.readline() == f"Dagster UI: {address} (Ctrl-C ends it)\n"
        dashboard = process.stdout.readline().removeprefix("Dashboard: ").strip()
        family = psutil.Process(process.pid).children(recursive=True)
        for page in (f"{address}/server_info", dashboard, f"{dashboard}readyz"):
            with urllib.request.urlopen(page, timeout=10) as answer:
                assert answer.status == 200
        assert (embedded_home / "dagster" / "dagster.yaml").is_file()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGTERM
    assert len(family) >= 3
    assert [member for member in family if member.is_running()] == []
    assert not server_processes(embedded_home)


def test_dev_wants_a_port_that_is_free(embedded_home: Path) -> None:
    """A port that somebody listens on is told before anything is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with started(embedded_home, "dev", "--port", str(taken.getsockname()[1])) as process:
            _, said = process.communicate(timeout=30)

    assert process.returncode == 2
    assert "choose another with --port" in said
    assert not (embedded_home / "postgres").exists()


def test_variables_of_another_server_lead_nowhere(embedded_home: Path) -> None:
    """Variables of another PostgreSQL in the same shell do not hide the embedded one."""
    another = {
        "PGHOST": "nowhere.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGDATABASE": "nowhere",
        "PGSERVICE": "nowhere",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGTARGETSESSIONATTRS": "standby",
        "PGSSLMODE": "verify-full",
    }
    with started(embedded_home, "migrate", env=another) as process:
        _, said = process.communicate(timeout=60)

    assert (process.returncode, said) == (0, "")


def someone_waits(url: str) -> bool:
    """Whether a statement of that database waits for a lock."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
    return found is not None


def read_all(terminal: int) -> str:
    """What was written to a terminal that nobody has open any more."""
    said = b""
    try:
        while chunk := os.read(terminal, 65536):
            said += chunk
    except OSError:
        pass
    os.close(terminal)
    return said.decode()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def imported_by(command: str, **environment: str) -> set[str]:
    """The modules that a process holds after it has carried out a command."""
    code = (
        "import sys; from pipelines.cli.main import main; failed = main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(failed)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(said.stderr.split())
