"""A use case connects once to each database and uses the connection again."""

from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest
from psycopg import Connection

from pipelines.postgres.connections import Databases, Run, connect, connections_reused
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings
from pipelines.source.snapshot import open_source
from pipelines.state.lock import refresh_lock
from tests.support.planting import plant_job, plant_tenant
from tests.support.standby_server import wait_until

Session = Callable[[], int]

LOCKS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)

SESSIONS = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"

OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture(params=["psycopg", "ADBC"])
def session(request: pytest.FixtureRequest, databases: Databases, settings: Settings) -> Session:
    """A function that connects, and says which session of the server it had."""

    def by_psycopg() -> int:
        with connect(databases.analytics_url, settings) as connection:
            return connection.info.backend_pid

    def by_adbc() -> int:
        with open_source(databases.source_url, settings) as source:
            return int(source.rows_of("SELECT pg_backend_pid() AS pid")["pid"].item())

    return by_psycopg if request.param == "psycopg" else by_adbc


def test_a_use_case_uses_its_connection_again(session: Session, source: Connection) -> None:
    """Inside the same session, outside another each time; at the end all of them are closed."""
    with connections_reused():
        inside = {session() for _ in range(3)}

    assert len(inside) == 1
    assert len({session(), session(), *inside}) == 3
    wait_until(lambda: number(source, OPEN) == 0, patience_s=2)


def test_a_session_that_the_server_ended_is_not_used_again(session: Session, source: Connection) -> None:
    """Whether a timeout or an administrator ended it, the use case goes on with a new one."""
    with connections_reused():
        first = session()
        source.execute("SELECT pg_terminate_backend(%s, 10000)", [first])

        assert session() != first


def test_a_connection_that_met_a_failure_is_not_used_again(databases: Databases, settings: Settings) -> None:
    """Whatever its session is left with is nobody's."""
    with connections_reused():
        with suppress(ZeroDivisionError), connect(databases.analytics_url, settings) as connection:
            first = connection.info.backend_pid
            raise ZeroDivisionError
        with connect(databases.analytics_url, settings) as connection:
            assert connection.info.backend_pid != first


def test_nothing_of_a_transaction_is_left(databases: Databases, settings: Settings) -> None:
    """The next use finds it committed, by autocommit or not as it asked for."""
    with connections_reused():
        with connect(databases.analytics_url, settings) as connection:
            connection.execute("CREATE TABLE public.left_over ()")
        with connect(databases.analytics_url, settings, autocommit=True) as connection:
            assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
            assert connection.execute("SELECT to_regclass('public.left_over')").fetchone() != (None,)
            assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


def test_the_lock_ends_with_its_session(databases: Databases, settings: Settings, source: Connection) -> None:
    """Although other connections of the use case stay open."""
    with connections_reused():
        with refresh_lock(Run(databases, settings)):
            assert number(source, LOCKS) == 1
        wait_until(lambda: number(source, LOCKS) == 0, patience_s=2)


def test_a_refresh_needs_four_sessions(databases: Databases, settings: Settings, source: Connection) -> None:
    """One holds the lock, one reads and writes the aggregates, one reads the source, one asks its version."""
    plant_job(source, plant_tenant(source))
    plant_job(source, plant_tenant(source, "Neighbour"))

    before = number(source, SESSIONS)
    refresh(Run(databases, settings))

    assert number(source, SESSIONS) - before <= 4


def number(source: Connection, asked: str) -> int:
    """The number that a statement gives, from statistics that are up to date."""
    source.execute("SELECT pg_stat_force_next_flush()")
    return source.execute(asked).fetchone()[0]
