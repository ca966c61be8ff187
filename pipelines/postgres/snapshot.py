"""A read-only moment of a database, streamed over ADBC."""

import json
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final

import adbc_driver_manager
import adbc_driver_postgresql
import polars as pl
from adbc_driver_manager import AdbcStatusCode
from adbc_driver_postgresql import dbapi
from arro3.core import RecordBatchReader

from pipelines import errors
from pipelines.postgres.connections import for_drivers, idle_connections, still_open
from pipelines.postgres.failures import said_of
from pipelines.postgres.session_settings import SessionSettings
from pipelines.postgres.statements import statement
from pipelines.settings import Settings

# PostgreSQL's ids of a missing table, schema or column, and of a missing privilege.
_NOT_READABLE: Final = {"42P01", "3F000", "42703", "42501", "42883"}

# Classes of a broken connection and of an administrator's intervention.
_CONNECTION_LOST: Final = ("08", "57P")

# For a statement that was cancelled and for one that took too long alike.
_CANCELLED: Final = "57014"

# How long a statement that has failed may run again, to learn why.
_AGAIN: Final = "10s"

# A standby ends a read that is in the way of what it has to replay; while it connects or between two
# statements it ends the connection, and then its words are all that is left.
_CONFLICTS: Final = ("40001", "40P01")
_CONFLICT: Final = "conflict with recovery"


class Snapshot:
    """One read-only transaction; every read in it sees the same moment.

    Whatever is asked after `snapshot_timeout` raises `SnapshotTimedOut`: an open snapshot keeps the server
    from tidying up. `longest_statement_s` counts from sending a statement until its last row was taken.
    """

    def __init__(self, connection: dbapi.Connection, settings: Settings) -> None:
        self._connection = connection
        self._opened, self._closed = time.monotonic(), 0.0
        self._longest_s = settings.snapshot_timeout.total_seconds()
        self._statement_timeout_s = settings.statement_timeout.total_seconds()
        self._taken: dict[str, str] = {}
        self._cancelled = False
        self.longest_statement_s = 0.0
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(f"SET LOCAL statement_timeout = {int(self._statement_timeout_s * 1000):d}")

    @property
    def seconds(self) -> float:
        """How long the snapshot has been open, or was."""
        return (self._closed or time.monotonic()) - self._opened

    def close(self) -> None:
        """Let the moment go."""
        self._closed = time.monotonic()
        with suppress(adbc_driver_manager.Error):
            self._connection.rollback()

    def cancel(self) -> None:
        """End the statement that another thread waits for."""
        self._cancelled = True
        self._connection.adbc_cancel()

    def set(self, settings: SessionSettings) -> None:
        """Hand over what statements take, for the rest of the transaction."""
        texts = settings.texts()
        with self._timed():
            _hand_over(self._connection, texts)
        self._taken |= texts

    def rows(self, path: str) -> pl.DataFrame:
        """What a statement gives for the settings that were handed over; UUIDs as bytes."""
        return self.rows_of(statement(path))

    def rows_of(self, text: str) -> pl.DataFrame:
        """The same for a statement that was put together from several files."""
        with self._timed(), self._ending_well(text):
            return read(self._connection, text)

    def stream(self, text: str) -> Generator[pl.DataFrame, None, None]:
        """Yield what it gives in frames of some ten thousand rows, none of them empty."""
        with self._timed(), self._ending_well(text), self._connection.cursor() as cursor, _streaming():
            cursor.execute(text)
            for batch in RecordBatchReader.from_arrow(cursor.fetch_arrow()):
                self._go_on()
                if batch.num_rows:
                    yield _without_extensions(pl.DataFrame(batch))

    def _go_on(self) -> None:
        if self.seconds > self._longest_s:
            raise errors.SnapshotTimedOut

    @contextmanager
    def _ending_well(self, text: str) -> Iterator[None]:
        """Give a stream that ended early the SQLSTATE of its end."""
        begun = time.monotonic()
        try:
            yield
        except _EndedEarly as ended:
            ended.sqlstate = _CANCELLED
            if not self._cancelled and time.monotonic() - begun < self._statement_timeout_s:
                ended.sqlstate = _sqlstate_again(self._connection, text, self._taken)
            raise

    @contextmanager
    def _timed(self) -> Iterator[None]:
        self._go_on()
        begun = time.monotonic()
        try:
            yield
        finally:
            self.longest_statement_s = max(self.longest_statement_s, time.monotonic() - begun)


@contextmanager
def open_snapshot(url: str, settings: Settings) -> Iterator[Snapshot]:
    """Open one of the aggregates. Raises `SchemaMissing` and what `connected` does."""
    with (
        connected(url, settings, missing=errors.SchemaMissing) as connection,
        closing(Snapshot(connection, settings)) as snapshot,
    ):
        yield snapshot


# In place of a database that a connection would close with itself: it is left to the next one.
_KEPT: Final = SimpleNamespace(close=lambda: None)


@lru_cache(maxsize=4)
def _database(url: str) -> adbc_driver_manager.AdbcDatabase:
    """A database that is read with PostgreSQL's own types alone, as our statements give no others.

    To ask a server for its types takes ten times as long as to connect.
    """
    database: adbc_driver_manager.AdbcDatabase = adbc_driver_postgresql.connect(
        url, db_kwargs={"adbc.postgresql.type_resolver_mode": "builtin"}
    )
    return database


def _connect(url: str) -> dbapi.Connection:
    connection = dbapi.Connection(_KEPT, adbc_driver_manager.AdbcConnection(_database(url)))
    read(connection, statement("session/settings"))
    connection.commit()
    return connection


def _answers(connection: dbapi.Connection) -> bool:
    with suppress(adbc_driver_manager.Error):
        read(connection, "SELECT 1")
        connection.rollback()
        return True
    return False


@contextmanager
def connected(
    url: str, settings: Settings, *, missing: type[errors.ExecutionMetricsError]
) -> Iterator[dbapi.Connection]:
    """Yield a connection whose failures are named; `missing`: something is not there or not readable.

    Raises `DatabaseUnreachable`, `StatementTimedOut`, `StatementCancelled` and `SourceConflict` too.
    """
    idle = idle_connections(url, "adbc")
    try:
        connection = still_open(idle, _answers) or _connect(for_drivers(url, settings))
    except adbc_driver_manager.Error as refused:
        if _CONFLICT in str(refused):
            raise errors.SourceConflict() from refused
        raise errors.DatabaseUnreachable(said_of(refused, url)) from refused
    begun = time.monotonic()
    with ExitStack() as ending:
        ending.enter_context(connection)
        try:
            yield connection
            if idle is not None:
                connection.rollback()
                ending.pop_all()
                idle.append(connection)
        except adbc_driver_manager.Error as failed:
            sqlstate = getattr(failed, "sqlstate", None)
            if sqlstate in _NOT_READABLE:
                raise missing(said_of(failed, url)) from failed
            if sqlstate in _CONFLICTS or _CONFLICT in str(failed):
                raise errors.SourceConflict() from failed
            if sqlstate == _CANCELLED:
                late = time.monotonic() - begun >= settings.statement_timeout.total_seconds()
                raise (
                    errors.StatementTimedOut() if late else errors.StatementCancelled(said_of(failed, url))
                ) from failed
            if sqlstate is None or sqlstate.startswith(_CONNECTION_LOST):
                raise errors.DatabaseUnreachable(said_of(failed, url)) from failed
            raise


def read(connection: dbapi.Connection, text: str) -> pl.DataFrame:
    """What a statement gives, UUIDs as bytes."""
    with connection.cursor() as cursor:
        cursor.execute(text)
        with _streaming():
            everything = RecordBatchReader.from_arrow(cursor.fetch_arrow()).read_all()
        return _without_extensions(pl.DataFrame(everything))


class _EndedEarly(adbc_driver_manager.OperationalError):
    """A stream of rows that the server has ended: the driver passes on its words, and no SQLSTATE."""

    sqlstate: str | None


@contextmanager
def _streaming() -> Iterator[None]:
    """Give a stream that ends early the driver's class of errors."""
    try:
        yield
    except Exception as failed:
        if type(failed) is not Exception:
            raise
        # What the server said, without how it came here.
        words = str(failed).partition("]: ")[2] or str(failed)
        raise _EndedEarly(words, status_code=AdbcStatusCode.IO) from failed


def _sqlstate_again(connection: dbapi.Connection, text: str, taken: Mapping[str, str]) -> str | None:
    """Have the server run a statement for nothing, and learn why it failed; None of a lost connection.

    A conflict on a standby and a person's cancelling do not happen again.
    """
    try:
        connection.rollback()
        in_recovery = read(connection, "SELECT pg_is_in_recovery() AS there")["there"].item()
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{_AGAIN}'")
            _hand_over(connection, taken)
            cursor.execute(f"DECLARE again NO SCROLL CURSOR FOR {text}")
            cursor.execute("MOVE FORWARD ALL IN again")
    except adbc_driver_manager.Error as told:
        return told.sqlstate
    finally:
        with suppress(adbc_driver_manager.Error):
            connection.rollback()
    return _CONFLICTS[0] if in_recovery else _CANCELLED


def _hand_over(connection: dbapi.Connection, settings: Mapping[str, str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement("session/hand_over"), [json.dumps(dict(settings))])
        cursor.fetch_arrow()


def _without_extensions(frame: pl.DataFrame) -> pl.DataFrame:
    """Keep the 16 bytes of each UUID, whatever Arrow extension they came in."""
    extensions: list[Any] = [
        pl.col(name).ext.storage() for name, dtype in frame.schema.items() if isinstance(dtype, pl.Extension)
    ]
    return frame.with_columns(extensions) if extensions else frame
