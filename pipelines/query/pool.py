"""Connections that many requests read with, each time in one transaction of one tenant."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock
from typing import Final

from psycopg import IsolationLevel
from psycopg.errors import DuplicateObject, UniqueViolation
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from pipelines.errors import DatabaseUnreachable, ExecutionMetricsError, InvalidSetting
from pipelines.postgres.connections import (
    Connection,
    Run,
    connect,
    for_drivers,
    open_databases,
    set_up,
)
from pipelines.postgres.grants import grants
from pipelines.postgres.migrations import migrate
from pipelines.postgres.schema_checks import require_analytics_at
from pipelines.postgres.statements import statement
from pipelines.postgres.urls import with_user
from pipelines.query.tenant import Tenant, answering, read_as
from pipelines.settings import Settings

# Reads are short; more at once would only queue for the server's processors instead.
_CONNECTIONS: Final = 8

# Who waits longer for a page has gone. A crowd that waits is told so at once: the web framework answers
# forty requests at a time, and some have to be left for those that need no database.
_PATIENCE_S: Final = 5.0
_CROWD: Final = 24
_EMBEDDED_READER: Final = "dashboard_reader"
_LIMITS: Final = (
    "SET default_transaction_read_only = on; SET statement_timeout = '15s';"
    " SET idle_in_transaction_session_timeout = '30s'"
)

# A request that comes again so soon gets the same answer, so that none can keep the database busy.
_KEPT_S: Final = 1.0

# A database that hangs must not hang every thread of the server.
_READY_PATIENCE_S: Final = 3.0


class ReadingPool(ConnectionPool[Connection]):
    """A pool that is open inside `with`, whether or not the database answers yet."""

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(
            for_drivers(url, settings),
            kwargs={
                "application_name": "execmetrics serve",
                # A plan for any tenant and any range is a good one for nobody's.
                "prepare_threshold": None,
            },
            configure=_configure,
            # A connection that a restart of the server has cut is not handed out.
            check=ConnectionPool.check_connection,
            min_size=1,
            max_size=_CONNECTIONS,
            max_waiting=_CROWD,
            timeout=_PATIENCE_S,
            open=False,
        )

    @contextmanager
    def reading_as(self, tenant: Tenant) -> Iterator[Connection]:
        """Yield a connection in a transaction of this tenant's, which sees one state of the metrics.

        Raises `DatabaseUnreachable` and `AnalyticsQueryError`.
        """
        with self._lent() as connection:
            read_as(connection, tenant)
            yield connection

    def require_ready(self) -> None:
        """Raise `DatabaseUnreachable` or `SchemaMissing` when no question can be answered."""
        with self._lent() as connection:
            require_analytics_at(connection)

    def sees_every_tenant(self) -> bool:
        """Whether row-level security keeps nothing from the role that reads. Raises as `reading_as`."""
        with self._lent() as connection:
            ((found,),) = connection.execute(statement("session/sees_every_tenant")).fetchall()
        return bool(found)

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        with answering(), ExitStack() as lent:
            try:
                connection = lent.enter_context(self.connection())
            except (PoolTimeout, TooManyRequests) as refused:
                raise DatabaseUnreachable from refused
            yield connection


@contextmanager
def reader_url(settings: Settings) -> Iterator[str]:
    """Yield where to read from: as the role that is set for it, or else as whoever writes.

    An embedded server, whose roles nobody else makes, gets one that may only read.
    """
    if not settings.reader_url:
        with open_databases(settings) as databases:
            yield (
                databases.analytics_url
                if settings.database_url
                else _embedded_reader(Run(databases, settings))
            )
        return
    asked = settings.model_copy(update={"database_url": settings.reader_url, "source_url": None})
    try:
        with open_databases(asked) as reading:
            url = reading.analytics_url
    except InvalidSetting:
        raise InvalidSetting("EXECMETRICS_READER_URL must be a URL that starts with postgresql://.") from None
    yield url


def _embedded_reader(run: Run) -> str:
    """The URL of the role that may read what `execmetrics grants` prints, made unless it is there."""
    migrate(run)
    printed = grants(run.settings, source_reader="", writer="", dashboard_reader=_EMBEDDED_READER)
    (mine,) = (each for each in printed if each.role == _EMBEDDED_READER)
    with connect(run.databases.analytics_url, run.settings, autocommit=True) as connection:
        for made in mine.created.statements:
            # A second one may make the role at the same moment.
            with suppress(DuplicateObject, UniqueViolation):
                connection.execute(made)
    return with_user(run.databases.analytics_url, _EMBEDDED_READER)


def _configure(connection: Connection) -> None:
    set_up(connection, _LIMITS)
    connection.read_only = True
    # The version that an answer is tagged with and its figures are of one moment.
    connection.isolation_level = IsolationLevel.REPEATABLE_READ


class Readiness:
    """Asks the database, one request at a time."""

    def __init__(self, require: Callable[[], None]) -> None:
        self._require, self._asking = require, Lock()
        self._known_until = float("-inf")
        self._failure: type[ExecutionMetricsError] | None = None

    def require(self) -> None:
        """Raise why no question can be answered, if so."""
        if not self._asking.acquire(timeout=_READY_PATIENCE_S):
            raise DatabaseUnreachable
        try:
            if time.monotonic() >= self._known_until:
                self._failure = None
                try:
                    self._require()
                except ExecutionMetricsError as failure:
                    self._failure = type(failure)
                self._known_until = time.monotonic() + _KEPT_S
            if self._failure:
                raise self._failure
        finally:
            self._asking.release()
