"""A server that ends our sessions, or itself, in the middle of a run: a sentence, and the next run heals."""

import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

import psutil
import psycopg

from pipelines.errors import ExecutionMetricsError
from pipelines.fault_points import FaultPoint
from pipelines.postgres import embedded as embedded_postgres
from pipelines.postgres.connections import Databases, Run
from pipelines.postgres.migrations import migrate
from pipelines.runs.refresh import refresh
from pipelines.settings import load_settings
from tests.conftest import UNSAFE_BUT_FAST, with_database
from tests.support.faults.cutting_off import prepared
from tests.support.faults.history import History
from tests.support.faults.runs import struck_at
from tests.support.faults.scenarios import SCENARIOS
from tests.support.faults.starting_point import Place
from tests.support.sampling import EVERYTHING
from tests.torture.conftest import Tell

# The machine does not crash with the server, so that only what it has not handed over is lost.
CRASH_SAFE = {name: value for name, value in UNSAFE_BUT_FAST.items() if name != "synchronous_commit"}

# In the short form the sessions are ended the first time that a run is here.
WHILE_COMMITTING = [FaultPoint.CELLS_UPSERTED, FaultPoint.BEFORE_COMMIT, FaultPoint.AFTER_COMMIT]
WHILE_PUBLISHING = [FaultPoint.BATCH_BEGUN, FaultPoint.CHUNK_WRITTEN, *WHILE_COMMITTING[:2]]
WHILE_READING = [FaultPoint.SNAPSHOT_OPENED, FaultPoint.JOBS_STREAMING, FaultPoint.JOBS_READ]


def test_sessions_on_the_aggregates_are_ended(history: History, place: Place, tell: Tell) -> None:
    """While a batch is under way: no batch is half published, and no organization is blamed for it."""
    strike = partial(end_sessions, place.databases.analytics_url)

    ended = strike_everywhere(history, place, WHILE_PUBLISHING, strike)

    tell(f"sessions on the aggregates ended: {dict(ended)}.")
    assert ended["DatabaseUnreachable"] >= len(WHILE_PUBLISHING)


def test_sessions_on_the_source_are_ended(history: History, place: Place, tell: Tell) -> None:
    """While more jobs stream than are under way: nothing of what was read is kept."""
    history.has_a_backlog(60_000)
    strike = partial(end_sessions, history.url, history.source.info.backend_pid)

    ended = strike_everywhere(history, place, WHILE_READING, strike)

    tell(f"sessions on the source ended: {dict(ended)}.")
    assert ended["DatabaseUnreachable"] >= 2


def test_a_server_is_stopped_at_once(embedded_home: Path, tmp_path: Path, tell: Tell) -> None:
    """As by `pg_ctl stop -m immediate`, which is a crash: what was committed is there when it is back."""

    def running() -> AbstractContextManager[str]:
        return embedded_postgres.running(embedded_home, options=CRASH_SAFE)

    def start() -> None:
        # The server stays when this one leaves it, because we are there as well.
        with running():
            pass

    with running() as url:
        databases = Databases(url, with_database(url, "source"))
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("CREATE DATABASE source")
            (data,) = admin.execute("SHOW data_directory").fetchone()
        settings = load_settings(home=tmp_path / "home", batch_organizations=2, tolerated_failures_pct=100)
        migrate(Run(databases, settings), with_source=True)
        with psycopg.connect(databases.source_url, autocommit=True) as source:
            history, place = History.begun(databases.source_url, source), Place(databases, settings)
            ended = strike_everywhere(history, place, WHILE_COMMITTING, partial(stop, Path(data)), start)

    tell(f"server stopped at once: {dict(ended)}.")
    # Whoever has committed all needs no server any more.
    assert ended.keys() - {"success"} == {"DatabaseUnreachable", "CommitUnknown"}


def strike_everywhere(
    history: History,
    place: Place,
    points: list[FaultPoint],
    strike: Callable[[], object],
    afterwards: Callable[[], object] = lambda: None,
) -> Counter[str]:
    """Refresh from the same state again and again, and strike at another point each time; count the ends."""
    passed, beginning, witness = prepared(SCENARIOS["refresh"], history, place)
    ended: Counter[str] = Counter()
    for occurrence, point in enumerate(passed):
        if point not in points or not (EVERYTHING or point not in passed[:occurrence]):
            continue
        beginning.again()
        try:
            with struck_at(occurrence, strike):
                report = refresh(place.run)
            assert [each.organization_id for each in report.failed] == [history.troubled.organization]
            ended["success"] += 1
        except ExecutionMetricsError as failure:
            ended[type(failure).__name__] += 1
        afterwards()
        witness.sees_before_or_after()
        witness.sees_it_heal()
    return ended


def end_sessions(url: str, *spared: int) -> None:
    """Terminate every session of a database but these and our own, and wait until they are gone."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid <> ALL (%s)",
            [list(spared)],
        )


def stop(data: Path) -> None:
    """Have a server end without a checkpoint or a farewell, and wait until it has."""
    server = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
    server.send_signal(signal.SIGQUIT)
    with suppress(psutil.TimeoutExpired):
        server.wait(timeout=20)
