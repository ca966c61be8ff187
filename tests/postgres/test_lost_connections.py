"""A server that goes away while it is read or written is a sentence, not a traceback."""

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

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
from tests.support.planting import plant_jobs, plant_long_jobs, plant_tenant


@pytest.mark.every_postgres
def test_a_connection_that_is_ended_by_the_server_is_named(databases: Databases, settings: Settings) -> None:
    """Whoever waits for an answer is told that the database does not answer any more."""
    killer = threading.Thread(target=end_everybody, args=[databases.source_url])
    killer.start()

    with pytest.raises(DatabaseUnreachable, match="does not answer"):
        execute(databases, settings, "SELECT pg_sleep(30)")

    killer.join()


@pytest.mark.every_postgres
def test_a_snapshot_that_is_ended_by_the_server_is_named(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """The same for a reader of the source, between two statements."""
    plant_jobs(source, plant_tenant(source), [{}])

    with pytest.raises(DatabaseUnreachable, match="does not answer"):
        read_jobs(databases, settings, meanwhile=lambda: end_everybody(databases.source_url))


@pytest.mark.every_postgres
def test_a_stream_that_is_ended_by_the_server_is_named(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """And for one who is in the middle of more rows than fit into what is under way."""
    plant_long_jobs(source, plant_tenant(source))

    with pytest.raises(DatabaseUnreachable, match="does not answer"):
        read_jobs(databases, settings, after_each_frame=lambda: end_everybody(databases.source_url))


def test_a_stream_that_somebody_cancels_is_named(
    databases: Databases, settings: Settings, source: psycopg.Connection
) -> None:
    """By the database's administrator, for one, who ends the statement and not the connection."""
    plant_long_jobs(source, plant_tenant(source))

    with pytest.raises(StatementCancelled):
        read_jobs(databases, settings, after_each_frame=lambda: cancel_everybody(databases.source_url))


def test_a_stream_that_nobody_wants_any_more_ends_in_the_server(
    databases: Databases, source: psycopg.Connection
) -> None:
    """Whoever reads ahead and is interrupted leaves no statement behind, however long it would still take."""
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
    while running(source) and time.monotonic() - interrupted < 10:
        time.sleep(0.05)

    assert running(source) == 0
    # Without being cancelled it would run into its limit of thirty seconds.
    assert time.monotonic() - interrupted < 20


def test_a_statement_that_takes_too_long_is_named(databases: Databases) -> None:
    """The limit of the settings ends it, and the message names the setting."""
    hasty = load_settings(database_url=databases.source_url, statement_timeout=0.2)

    with psycopg.connect(databases.source_url) as blocker:
        blocker.execute("LOCK TABLE orchestration.jobs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StatementTimedOut, match="EXECMETRICS_STATEMENT_TIMEOUT"):
            read_jobs(databases, hasty)


def test_an_answer_that_takes_too_long_is_named(databases: Databases) -> None:
    """Not only while a statement is begun, but also while its rows are awaited."""
    hasty = load_settings(database_url=databases.source_url, statement_timeout=0.2)

    with (
        pytest.raises(StatementTimedOut, match="EXECMETRICS_STATEMENT_TIMEOUT"),
        open_source(databases.source_url, hasty) as snapshot,
    ):
        snapshot.rows_of("SELECT number, pg_sleep(0.1)::text FROM generate_series(1, 30) AS number")


@pytest.mark.parametrize("read", [SourceSnapshot.organizations, lambda snapshot: asked_slowly(snapshot)])
def test_a_snapshot_that_is_open_for_too_long_is_let_go(
    read: Callable[[SourceSnapshot], object], databases: Databases, source: psycopg.Connection
) -> None:
    """However many short statements it takes: the server cannot tidy up behind an open snapshot."""
    hasty = load_settings(database_url=databases.source_url, snapshot_timeout=0.3)

    def in_time_and_later() -> None:
        with open_source(databases.source_url, hasty) as snapshot:
            snapshot.organizations()
            time.sleep(0.4 if read is SourceSnapshot.organizations else 0)
            read(snapshot)

    with pytest.raises(SnapshotTimedOut, match="EXECMETRICS_SNAPSHOT_TIMEOUT"):
        in_time_and_later()

    assert running(source) == 0


def asked_slowly(snapshot: SourceSnapshot) -> None:
    """Take one answer's many rows as slowly as a busy disk would."""
    for _ in snapshot.stream("SELECT repeat('x', 1000) AS text FROM generate_series(1, 200000)"):
        time.sleep(0.1)


@pytest.mark.every_postgres
def test_what_a_role_may_not_do_is_named(databases: Databases, settings: Settings) -> None:
    """A missing privilege is a sentence that says where the GRANTs are."""
    with pytest.raises(NotPermitted, match="execmetrics grants"):
        execute(databases, settings, "SET ROLE pg_read_all_stats; SELECT id FROM orchestration.jobs")


def execute(databases: Databases, settings: Settings, text: str) -> None:
    """Execute statements as the pipeline would."""
    with connect(databases.source_url, settings) as connection:
        connection.execute(text)


def read_jobs(
    databases: Databases,
    settings: Settings,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    after_each_frame: Callable[[], None] = lambda: None,
) -> None:
    """Read all jobs as the pipeline would, while something else happens."""
    with open_source(databases.source_url, settings) as snapshot:
        meanwhile()
        for _ in snapshot.jobs(Swept({})):
            after_each_frame()


def running(source: psycopg.Connection) -> int:
    """How many statements of others the server is at work on."""
    return source.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()"
    ).fetchone()[0]


def cancel_everybody(url: str) -> None:
    """Cancel what every other session of a database is at."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )


def end_everybody(url: str) -> None:
    """Terminate every other session of a database, a moment from now."""
    time.sleep(0.5)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )
