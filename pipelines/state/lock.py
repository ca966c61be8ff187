"""One run at a time: the lock that every reader of the source takes first."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors

from pipelines.errors import AnotherRunHoldsTheLock, SessionsShared
from pipelines.fault_points import FaultPoint, passing
from pipelines.postgres.connections import Connection, Run, connect
from pipelines.postgres.statements import statement


@contextmanager
def refresh_lock(run: Run) -> Iterator[None]:
    """Wait for other runs, then hold the lock.

    Raises `AnotherRunHoldsTheLock` after the timeout, and `SessionsShared` where a lock would lock nothing.
    """
    milliseconds = int(run.settings.lock_timeout.total_seconds() * 1000)
    with connect(run.databases.analytics_url, run.settings, autocommit=True, last=True) as connection:
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
        _require_own_session(run, connection)
        passing(FaultPoint.LOCK_TAKEN)
        yield


def _require_own_session(run: Run, holder: Connection) -> None:
    """Raise `SessionsShared` when another connection meets the session that holds the lock."""
    with run.analytics() as another:
        met = [each.execute("SELECT pg_backend_pid()").fetchone() for each in (holder, another)]
    if met[0] == met[1]:
        raise SessionsShared
