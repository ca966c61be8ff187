"""One run at a time: the lock that every reader of the source takes first."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors

from pipelines.errors import AnotherRunHoldsTheLock, SessionsShared
from pipelines.fault_points import FaultPoint, passing
from pipelines.postgres.connections import Connection, Databases, connect
from pipelines.postgres.statements import statement
from pipelines.settings import Settings


@contextmanager
def refresh_lock(databases: Databases, settings: Settings) -> Iterator[None]:
    """Wait for other runs, then hold the lock.

    Raises `AnotherRunHoldsTheLock` after the timeout, and `SessionsShared` where a lock would lock nothing.
    """
    milliseconds = int(settings.lock_timeout.total_seconds() * 1000)
    with connect(databases.analytics_url, settings, autocommit=True, last=True) as connection:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(milliseconds)])
        # A run that was killed must not hold the lock until TCP notices.
        connection.execute("SET client_connection_check_interval = '5s'")
        connection.execute("SET tcp_keepalives_idle = 30")
        connection.execute("SET tcp_keepalives_interval = 10")
        connection.execute("SET tcp_keepalives_count = 3")
        try:
            connection.execute(statement("state/lock"))
        except errors.LockNotAvailable as busy:
            raise AnotherRunHoldsTheLock from busy
        _require_own_session(databases, settings, connection)
        passing(FaultPoint.LOCK_TAKEN)
        yield


def _require_own_session(databases: Databases, settings: Settings, holder: Connection) -> None:
    """Raise `SessionsShared` when another connection meets the session that holds the lock."""
    with connect(databases.analytics_url, settings) as another:
        met = [each.execute("SELECT pg_backend_pid()").fetchone() for each in (holder, another)]
    if met[0] == met[1]:
        raise SessionsShared
