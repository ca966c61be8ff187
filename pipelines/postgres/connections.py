"""A run and its two databases: the source, which is not ours, and the one where aggregates live."""

import os
import select
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, TypeVar

import psycopg
from pydantic import SecretStr

from pipelines import errors
from pipelines.postgres import embedded as embedded_postgres
from pipelines.postgres.failures import meaning_by, said_of
from pipelines.postgres.statements import statement
from pipelines.postgres.urls import DatabaseUrl
from pipelines.settings import Settings

_CONCERNS_EVERYBODY = (
    errors.DatabaseExhausted,
    errors.DatabaseReadOnly,
    errors.DatabaseUnreachable,
    errors.NotPermitted,
)

T = TypeVar("T")

Connection = psycopg.Connection

# What is told of a stage: its name, and how many rows it has done so far.
OnProgress = Callable[[str, int], None]

# Variables of libpq that no URL outvotes, and that were meant for another server than an embedded one.
_MISLEADING = (
    *("PGSERVICE", "PGSERVICEFILE", "PGREQUIREAUTH"),
    *("PGCHANNELBINDING", "PGTARGETSESSIONATTRS", "PGGSSENCMODE"),
)

# Idle connections of the use case that this thread is in, by what they are for; None outside of one.
_IDLE: ContextVar[dict[tuple[str, str], list[Any]] | None] = ContextVar("_IDLE", default=None)


@dataclass(frozen=True)
class Databases:
    """Two libpq URLs; the URLs may hold passwords, so they are never shown."""

    analytics_url: str = field(repr=False)
    source_url: str = field(repr=False)

    @property
    def same(self) -> bool:
        """Whether source and aggregates share one database, as in development."""
        return self.analytics_url == self.source_url


@dataclass(eq=False)
class Stages:
    """The stages of one run; `seconds` adds up what each took, wall time. Stages may overlap."""

    on_progress: OnProgress | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the body's time as this stage's."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add({stage: time.perf_counter() - begun})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Count seconds, by stage, that this run or an earlier part of it took."""
        for stage, taken in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + taken

    def timed_each(self, stage: str, items: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield the same items, and count the time that each takes to come as this stage's."""
        with closing(items):
            while True:
                with self.timed(stage):
                    made = list(islice(items, 1))
                if not made:
                    return
                yield from made

    def tell(self, stage: str, rows: int) -> None:
        """Say how many rows a stage has done so far."""
        if self.on_progress:
            self.on_progress(stage, rows)


@dataclass(frozen=True)
class Run:
    """What every part of one run needs: where to connect, the settings, and how it is followed.

    Each run has one of its own, because its `stages` add up the seconds of all that is done with it.
    """

    databases: Databases
    settings: Settings
    stages: Stages = field(default_factory=Stages)

    def analytics(self) -> AbstractContextManager[psycopg.Connection]:
        """A connection to the aggregates; raises as `connect` does."""
        return connect(self.databases.analytics_url, self.settings)


@contextmanager
def open_databases(settings: Settings) -> Iterator[Databases]:
    """Yield where to connect; an embedded server runs meanwhile when no URL is set."""
    analytics = _configured(settings.database_url, "EXECMETRICS_DATABASE_URL")
    source = _configured(settings.source_url, "EXECMETRICS_SOURCE_URL")
    if analytics:
        yield Databases(analytics, source or analytics)
        return
    if not source:
        for variable in _MISLEADING:
            os.environ.pop(variable, None)
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
        for connection in chain.from_iterable(idle.values()):
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
    kept = idle_connections(url, f"in UTC: {in_utc}")
    connection: Connection = still_open(kept, _hears_nothing) or _opened(url, settings, in_utc)
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
    except psycopg.Error as failed:
        # What concerns every organization; the rest may be one organization's.
        means = errors.DatabaseUnreachable if connection.broken else meaning_by(failed.sqlstate)
        if means in _CONCERNS_EVERYBODY:
            raise means(said_of(failed, url)) from failed
        raise


def _opened(url: str, settings: Settings, in_utc: bool) -> Connection:
    try:
        with ExitStack() as refusing:
            connection = refusing.enter_context(closing(psycopg.connect(for_drivers(url, settings))))
            set_up(connection, "" if in_utc else "RESET TimeZone")
            refusing.pop_all()
            return connection
    except psycopg.Error as refused:
        raise errors.DatabaseUnreachable(said_of(refused, url)) from refused


def set_up(connection: Connection, more: str) -> None:
    """Give a new session our settings, and then what else this one needs."""
    connection.autocommit = True
    connection.execute(statement("session/settings"))
    if more:
        connection.execute(more)
    connection.autocommit = False


def still_open(idle: list[Any] | None, is_open: Callable[[Any], bool]) -> Any:
    """Take an idle connection that the server has not ended meanwhile; None if there is none."""
    while idle:
        connection = idle.pop()
        if is_open(connection):
            return connection
        connection.close()
    return None


def _hears_nothing(connection: Connection) -> bool:
    """Of an idle connection, nothing but its end is ever heard."""
    return not select.select([connection], [], [], 0)[0]


def commit(connection: Connection, *, made: Callable[[], bool]) -> None:
    """Commit; when the answer is lost, `made` is asked whether it was made, because nobody should guess.

    Raises `CommitUnknown` when that cannot be found out either.
    """
    try:
        connection.commit()
    except psycopg.OperationalError as lost:
        try:
            if not (connection.broken and made()):
                raise
        except errors.DatabaseUnreachable:
            raise errors.CommitUnknown from lost


def for_drivers(url: str, settings: Settings) -> str:
    """The URL with all that a session begins with, so that no variable of the shell decides it.

    What else a session goes by is set when it is open (`session/settings`).
    """
    read = DatabaseUrl.read(url)
    timeout_s = max(1, round(settings.connect_timeout.total_seconds()))
    preferred = {"application_name": "execmetrics", "options": "", **read.options}
    ours = {"client_encoding": "UTF8", "connect_timeout": str(timeout_s)}
    return str(read.with_options(**preferred | ours))


def _configured(url: SecretStr | None, variable: str) -> str | None:
    if not url or not url.get_secret_value():
        return None
    try:
        read = DatabaseUrl.read(url.get_secret_value())
    except ValueError:
        raise errors.InvalidSetting(f"{variable} is not a database URL.") from None
    if read.scheme not in {"postgresql", "postgres"}:
        raise errors.InvalidSetting(f"{variable} must start with postgresql://.")
    return str(read)
