"""The two databases of a run: the source, which is not ours, and the one where aggregates live."""

import select
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pipelines.errors import (
    CommitUnknown,
    DatabaseExhausted,
    DatabaseUnreachable,
    InvalidSetting,
    NotPermitted,
)
from pipelines.settings import Settings
from pipelines.storage import embedded_postgres
from pipelines.storage.database_urls import DatabaseUrl, without_password

_EXHAUSTED = (
    psycopg.errors.DiskFull,
    psycopg.errors.OutOfMemory,
    psycopg.errors.TooManyConnections,
    psycopg.errors.ConfigurationLimitExceeded,
)


Connection = psycopg.Connection

# Idle connections of the use case that this thread is in, by what they are for; None outside of one.
_IDLE: ContextVar[dict[tuple[str, str], list[Any]] | None] = ContextVar("_IDLE", default=None)


@dataclass(frozen=True)
class Databases:
    """Two libpq URLs; the URLs may hold passwords, so they are never shown."""

    analytics_url: str
    source_url: str

    @property
    def same(self) -> bool:
        """Whether source and aggregates share one database, as in development."""
        return self.analytics_url == self.source_url

    def __repr__(self) -> str:
        return f"Databases(analytics={without_password(self.analytics_url)!r})"


@contextmanager
def open_databases(settings: Settings) -> Iterator[Databases]:
    """Yield where to connect; an embedded server runs meanwhile when no URL is set."""
    analytics = _configured(settings.database_url, "EXECMETRICS_DATABASE_URL")
    source = _configured(settings.source_url, "EXECMETRICS_SOURCE_URL")
    if analytics:
        yield Databases(analytics, source or analytics)
        return
    with embedded_postgres.running(settings.home) as embedded:
        yield Databases(embedded, source or embedded)


@contextmanager
def connections_reused() -> Iterator[None]:
    """Within the body, connections are used again instead of made anew; they close at its end."""
    if _IDLE.get() is not None:
        yield
        return
    idle: dict[tuple[str, str], list[Any]] = defaultdict(list)
    outside = _IDLE.set(idle)
    try:
        yield
    finally:
        _IDLE.reset(outside)
        for connections in idle.values():
            for connection in connections:
                connection.close()


def idle_connections(url: str, purpose: str) -> list[Any] | None:
    """Where idle connections to a database are kept for a purpose; None where none is used again."""
    idle = _IDLE.get()
    return None if idle is None else idle[url, purpose]


@contextmanager
def connect(
    url: str, settings: Settings, *, autocommit: bool = False, in_utc: bool = True, last: bool = False
) -> Iterator[psycopg.Connection]:
    """Yield a connection in UTC that commits at the end, or rolls back when the body fails.

    One that is not `in_utc` is in the time zone that the database has for its sessions. The `last` use of a
    connection closes it, and with it what its session holds.

    Raises `DatabaseUnreachable`, also when the connection is lost meanwhile, and `NotPermitted`.
    """
    time_zone = " -c TimeZone=UTC" if in_utc else ""
    kept = idle_connections(url, time_zone)
    connection = _still_open(kept or []) or _opened(url, settings, time_zone)
    if connection.autocommit is not autocommit:
        connection.autocommit = autocommit
    try:
        with ExitStack() as ending:
            ending.enter_context(connection)
            yield connection
            # One whose commit got no answer is lost, even where the commit was found to be made.
            if kept is not None and not last and not connection.closed:
                connection.commit()
                ending.pop_all()
                kept.append(connection)
    except psycopg.errors.InsufficientPrivilege as refused:
        raise NotPermitted(f"({without_password(url)})") from refused
    except _EXHAUSTED as full:
        raise DatabaseExhausted(f"({without_password(url)})") from full
    except psycopg.OperationalError as failed:
        if connection.broken:
            raise DatabaseUnreachable(f"({without_password(url)})") from failed
        raise


def _opened(url: str, settings: Settings, time_zone: str) -> Connection:
    try:
        return psycopg.connect(
            url,
            connect_timeout=_connect_timeout_s(settings),
            application_name="execmetrics",
            # Some of what is copied is written as bytes, whatever the environment says.
            client_encoding="UTF8",
            options=f"{conninfo_to_dict(url).get('options') or ''}{time_zone} -c DateStyle=ISO",
        )
    except psycopg.Error as refused:
        raise DatabaseUnreachable(f"({without_password(url)})") from refused


def _still_open(connections: list[Connection]) -> Connection | None:
    """Take a connection that the server has not ended meanwhile, if there is one."""
    while connections:
        connection = connections.pop()
        # Of an idle connection, nothing but its end is ever heard.
        if not select.select([connection], [], [], 0)[0]:
            return connection
        connection.close()
    return None


def commit(connection: Connection, *, made: Callable[[], bool]) -> None:
    """Commit; when the answer is lost, `made` is asked whether it was made, because nobody should guess.

    Raises `CommitUnknown` when that cannot be found out either.
    """
    try:
        connection.commit()
    except psycopg.OperationalError as lost:
        if not connection.broken:
            raise
        try:
            if made():
                return
        except DatabaseUnreachable:
            raise CommitUnknown from lost
        raise


def with_connect_timeout(url: str, settings: Settings) -> str:
    """The URL for a driver that takes its patience from there."""
    return str(DatabaseUrl.read(url).with_options(connect_timeout=str(_connect_timeout_s(settings))))


def _connect_timeout_s(settings: Settings) -> int:
    return max(1, round(settings.connect_timeout.total_seconds()))


def _configured(secret: object, variable: str) -> str | None:
    url = secret.get_secret_value() if hasattr(secret, "get_secret_value") else None
    if not url:
        return None
    try:
        read = DatabaseUrl.read(url)
    except ValueError:
        raise InvalidSetting(f"{variable} is not a database URL.") from None
    if read.scheme not in {"postgresql", "postgres"}:
        raise InvalidSetting(f"{variable} must start with postgresql://.")
    return str(read)
