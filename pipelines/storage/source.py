"""The source as one moment shows it: a read-only snapshot, streamed over ADBC."""

import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import adbc_driver_manager
import polars as pl
from adbc_driver_manager import AdbcStatusCode
from adbc_driver_postgresql import dbapi
from arro3.core import RecordBatch, RecordBatchReader

from pipelines.errors import (
    DatabaseUnreachable,
    SchemaMissing,
    SourceMissing,
    StatementCancelled,
    StatementTimedOut,
)
from pipelines.model.jobs import EXTRACTED_COLUMNS
from pipelines.settings import Settings
from pipelines.storage.database import with_connect_timeout, without_password
from pipelines.storage.frames import id_series
from pipelines.storage.statements import statement

# PostgreSQL's ids of a missing table, schema or column, and of a missing privilege.
_NOT_READABLE: Final = {"42P01", "3F000", "42703", "42501", "42883"}

# Classes of a broken connection and of an administrator's intervention.
_CONNECTION_LOST: Final = ("08", "57P")

# For a statement that was cancelled and for one that took too long alike.
_ENDED_EARLY: Final = "57014"


@dataclass(frozen=True)
class Moment:
    """When a snapshot was taken: `horizon` is the 64-bit transaction id below which all had ended."""

    horizon: int
    incarnation: str
    extracted_at: datetime


_NO_MOMENT: Final = Moment(0, "", datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True)
class Wanted:
    """Which rows to read: those changed since the horizons, completed in [since, until), or listed.

    An organization whose horizon is None is read whole; when `only_listed` is false, so is every
    organization without a horizon.
    """

    horizons: Mapping[UUID, int | None]
    only_listed: bool = False
    since: datetime | None = None
    until: datetime | None = None
    job_ids: Sequence[UUID] = ()


@dataclass(frozen=True)
class Names:
    """Organizations, and the workflows and clients that changed: id, name, deleted_at, owner or zone."""

    organizations: pl.DataFrame
    workflows: pl.DataFrame
    clients: pl.DataFrame


class SourceSnapshot:
    """One read-only transaction; every read in it sees the same moment."""

    def __init__(self, connection: dbapi.Connection, moment: Moment) -> None:
        self._connection = connection
        self.moment = moment

    def cancel(self) -> None:
        """End the statement that another thread waits for."""
        self._connection.adbc_cancel()

    def rows(self, path: str) -> pl.DataFrame:
        """What a statement without values gives; UUIDs as bytes."""
        with self._connection.cursor() as cursor:
            return _read(cursor, path)

    def cells(self, path: str, values: Sequence[str]) -> pl.DataFrame:
        """The cells that a statement under sql/verify gives, for the settings that its settings.sql takes."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement("verify/settings.sql"), list(values))
            cursor.fetch_arrow()
            return _read(cursor, path)

    def jobs(self, wanted: Wanted) -> Generator[pl.DataFrame, None, None]:
        """Yield the wanted jobs in frames of some ten thousand rows, columns as EXTRACTED_COLUMNS."""
        with self._connection.cursor() as cursor:
            _hand_over(cursor, wanted)
            cursor.execute(statement("extract/jobs.sql"))
            for batch in _batches(cursor):
                frame = _without_extensions(pl.DataFrame(batch))
                if frame.height:
                    yield frame.select(*EXTRACTED_COLUMNS).cast(pl.Schema(EXTRACTED_COLUMNS))

    def organizations(self) -> pl.DataFrame:
        """Every organization there is: id, name, time_zone, deleted_at."""
        return self.rows("extract/organizations.sql")

    def names(self, wanted: Wanted) -> Names:
        """Read the wanted organizations, and their workflows and clients that changed since the horizons."""
        organizations = self.organizations()
        if wanted.only_listed:
            listed = id_series("id", wanted.horizons).implode()
            organizations = organizations.filter(pl.col("id").is_in(listed))
        with self._connection.cursor() as cursor:
            _hand_over(cursor, wanted)
            changed = (_read(cursor, f"extract/{kind}.sql") for kind in ("workflows", "clients"))
            return Names(organizations, *changed)


@contextmanager
def open_snapshot(url: str, settings: Settings, *, of_source: bool = True) -> Iterator[SourceSnapshot]:
    """Open a REPEATABLE READ, READ ONLY transaction; the horizon is read before any row.

    `verify` reads the aggregates in the same manner: they have no moment of their own.
    """
    try:
        connection = dbapi.connect(with_connect_timeout(url, settings))
    except adbc_driver_manager.Error as refused:
        raise DatabaseUnreachable(f"({without_password(url)})") from refused
    begun = time.monotonic()
    with connection:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                milliseconds = int(settings.statement_timeout.total_seconds() * 1000)
                cursor.execute(f"SET LOCAL statement_timeout = {milliseconds:d}")
                cursor.execute("SET LOCAL TimeZone = 'UTC'")
                moment = _moment(cursor) if of_source else _NO_MOMENT
            yield SourceSnapshot(connection, moment)
        except adbc_driver_manager.Error as failed:
            sqlstate = getattr(failed, "sqlstate", None)
            if sqlstate in _NOT_READABLE:
                raise SourceMissing() if of_source else SchemaMissing() from failed
            if sqlstate == _ENDED_EARLY:
                longest = settings.statement_timeout.total_seconds()
                late = time.monotonic() - begun >= longest
                raise StatementTimedOut() if late else StatementCancelled() from failed
            if sqlstate is None or sqlstate.startswith(_CONNECTION_LOST):
                raise DatabaseUnreachable(f"({without_password(url)})") from failed
            raise
        finally:
            with suppress(adbc_driver_manager.Error):
                connection.rollback()


def _batches(cursor: dbapi.Cursor) -> Iterator[RecordBatch]:
    try:
        yield from RecordBatchReader.from_arrow(cursor.fetch_arrow())
    except Exception as failed:
        if type(failed) is not Exception:
            raise
        # A stream that ends early has no class of its own, and no code beside the server's words.
        sqlstate = _ENDED_EARLY if "canceling statement" in str(failed) else _CONNECTION_LOST[0]
        raise adbc_driver_manager.OperationalError(
            "The stream of rows ended early.", status_code=AdbcStatusCode.IO, sqlstate=sqlstate
        ) from failed


def _moment(cursor: dbapi.Cursor) -> Moment:
    row = _read(cursor, "extract/snapshot.sql").row(0, named=True)
    return Moment(row["horizon"], row["incarnation"], row["extracted_at"].astimezone(UTC))


def _hand_over(cursor: dbapi.Cursor, wanted: Wanted) -> None:
    cursors = [{"organization_id": str(key), "horizon": horizon} for key, horizon in wanted.horizons.items()]
    values = [
        json.dumps(cursors),
        "listed" if wanted.only_listed else "all",
        # A range that begins at infinity is empty.
        wanted.since.isoformat() if wanted.since else "infinity",
        wanted.until.isoformat() if wanted.until else "infinity",
        "{" + ",".join(map(str, wanted.job_ids)) + "}",
    ]
    cursor.execute(statement("extract/settings.sql"), values)
    cursor.fetch_arrow()


def _read(cursor: dbapi.Cursor, path: str) -> pl.DataFrame:
    cursor.execute(statement(path))
    return _without_extensions(pl.DataFrame(cursor.fetch_arrow()))


def _without_extensions(frame: pl.DataFrame) -> pl.DataFrame:
    """Keep the 16 bytes of each UUID, whatever Arrow extension they came in."""
    extensions: list[Any] = [
        pl.col(name).ext.storage() for name, dtype in frame.schema.items() if isinstance(dtype, pl.Extension)
    ]
    return frame.with_columns(extensions)
