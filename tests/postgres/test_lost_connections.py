"""A server that goes away while it is read or written is a sentence, not a traceback."""

import threading
import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg import Connection

from pipelines.errors import (
    DatabaseUnreachable,
    NotPermitted,
    SnapshotTimedOut,
    StatementCancelled,
    StatementTimedOut,
)
from pipelines.frames import prefetch
from pipelines.postgres.connections import Databases, connect
from pipelines.settings import Settings, load_settings
from pipelines.source.selections import Swept
from pipelines.source.snapshot import SourceSnapshot, open_source
from tests.support.planting import plant_long_jobs, plant_tenant
from tests.support.standby_server import wait_until

LOCKED = "SELECT id FROM orchestration.jobs"
MANY = "SELECT repeat('x', 1000) AS text FROM generate_series(1, 200000)"


@pytest.mark.every_postgres
@pytest.mark.parametrize(
    ("function", "when", "failure"),
    [
        ("pg_terminate_backend", "a statement waits", DatabaseUnreachable),
        ("pg_terminate_backend", "between two statements", DatabaseUnreachable),
        ("pg_terminate_backend", "rows are streamed", DatabaseUnreachable),
        ("pg_cancel_backend", "rows are streamed", StatementCancelled),
    ],
)
def test_what_an_administrator_ends_is_named(
    function: str, when: str, failure: type[Exception], databases: Databases, settings: Settings
) -> None:
    """A lost connection is named, while an answer is awaited or in the middle of many rows."""
    with psycopg.connect(databases.source_url) as source:
        plant_long_jobs(source, plant_tenant(source))

    with pytest.raises(failure):
        read_disturbed(databases.source_url, settings, when, function)


def test_a_stream_that_nobody_wants_any_more_ends_in_the_server(
    databases: Databases, source: Connection
) -> None:
    """A reader that is interrupted leaves no statement behind, however long that would still take."""
    patient = load_settings(database_url=databases.source_url, statement_timeout=30)
    slow = (
        "SELECT repeat('x', 1000) AS text, CASE WHEN number > 50000 THEN pg_sleep(0.1)::text END AS pause"
        " FROM generate_series(1, 100000) AS number"
    )

    with open_source(databases.source_url, patient) as snapshot:
        reading = prefetch(snapshot.stream(slow), cancel=snapshot.cancel)
        next(reading)
        assert running(source) == 1
        interrupted = time.monotonic()
        reading.close()

    # The server answers that the statement is cancelled a moment before it counts it as ended.
    wait_until(lambda: running(source) == 0, patience_s=10)
    # Without being cancelled it would run into its limit of thirty seconds.
    assert time.monotonic() - interrupted < 20


@pytest.mark.parametrize("asked", [LOCKED, "SELECT pg_sleep(0.1)::text FROM generate_series(1, 30)"])
def test_a_statement_that_takes_too_long_is_named(asked: str, databases: Databases) -> None:
    """The limit of the settings ends it, also while its rows are awaited, and the words name the setting."""
    hasty = load_settings(database_url=databases.source_url, statement_timeout=0.2)

    with psycopg.connect(databases.source_url) as blocker:
        blocker.execute("LOCK TABLE orchestration.jobs IN ACCESS EXCLUSIVE MODE")
        refused = pytest.raises(StatementTimedOut, match="EXECMETRICS_STATEMENT_TIMEOUT")
        with refused, open_source(databases.source_url, hasty) as snapshot:
            snapshot.rows_of(asked)


@pytest.mark.parametrize(
    "read",
    [
        lambda snapshot: [time.sleep(0.4), snapshot.organizations()],
        # One answer's many rows, taken as slowly as a busy disk would.
        lambda snapshot: [time.sleep(0.1) for _ in snapshot.stream(MANY)],
    ],
    ids=["statements", "rows"],
)
def test_a_snapshot_that_is_open_for_too_long_is_let_go(
    read: Callable[[SourceSnapshot], object], databases: Databases, source: Connection
) -> None:
    """However many short statements it takes: the server cannot tidy up behind an open snapshot."""
    hasty = load_settings(database_url=databases.source_url, snapshot_timeout=0.3)

    refused = pytest.raises(SnapshotTimedOut, match="EXECMETRICS_SNAPSHOT_TIMEOUT")
    with refused, open_source(databases.source_url, hasty) as snapshot:
        snapshot.organizations()
        read(snapshot)

    assert running(source) == 0


@pytest.mark.every_postgres
def test_what_a_role_may_not_do_is_named(databases: Databases, settings: Settings) -> None:
    """A missing privilege is a sentence that says where the GRANTs are."""
    refused = pytest.raises(NotPermitted, match="execmetrics grants")
    with refused, connect(databases.source_url, settings) as connection:
        connection.execute(f"SET ROLE pg_read_all_stats; {LOCKED}")


def read_disturbed(url: str, settings: Settings, when: str, function: str) -> None:
    """Read as the pipeline would, while a function of the server is called on every other session."""

    def disturb() -> None:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(
                f"SELECT {function}(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )

    if when == "a statement waits":
        threading.Timer(0.5, disturb).start()
        with connect(url, settings) as connection:
            connection.execute("SELECT pg_sleep(30)")
    with open_source(url, settings) as snapshot:
        if when == "between two statements":
            disturb()
        for _ in snapshot.jobs(Swept({})):
            disturb()


def running(source: Connection) -> int:
    """How many statements of others the server is at work on."""
    return source.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()"
    ).fetchone()[0]
