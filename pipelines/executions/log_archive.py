"""Months of logs as Parquet files, in a folder or an object store: written once, read a job at a time."""

import hashlib
import json
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import obstore
import polars as pl
from obstore.exceptions import BaseError

from pipelines.errors import LogArchiveNotWritten, LogArchiveUnusable
from pipelines.executions.blobs import settle, store_at
from pipelines.postgres.connections import Connection
from pipelines.postgres.failures import obstacle_of, said_of, words_of
from pipelines.postgres.statements import render
from pipelines.settings import located

# As log_partitions/copy_month gives them: ids in hexadecimal digits, the timestamp as a number.
_COPIED: Final = (
    *("id", "organization_id", "job_id", "sequence", "level", "timestamp"),
    *("step_name", "message", "duration_ms", "metadata"),
)
_NUMBERS: Final = {"sequence": pl.Int32, "timestamp": pl.Int64, "duration_ms": pl.Float64}

# So the lines of a job are neighbours, and of a file no more is read than the groups that may hold them.
_ORDER: Final = ("organization_id", "job_id", "timestamp", "sequence", "id")
_GROUP_ROWS: Final = 20_000

# How much of a file is read at a time to take its sum.
_PART_BYTES: Final = 8 << 20

# Polars panics over some damage, and a panic is no Exception.
_FAILED: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, BaseError, OSError, ValueError)

_PARTITION: Final = re.compile(r"execution_logs_(\d{4})_(\d\d)")
_NAMED: Final = re.compile(r"execution_logs_\d{4}_\d\d-[0-9a-f]{12}\.parquet")
_ABANDONED_AFTER: Final = timedelta(days=1)


@dataclass(frozen=True, order=True)
class Month:
    """A month, counted from 1."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        """The one that a moment is in."""
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def of_partition(cls, name: str) -> "Month | None":
        """The one whose lines are in that table, if any are."""
        named = _PARTITION.fullmatch(name)
        return cls(int(named[1]), int(named[2])) if named else None

    @property
    def partition(self) -> str:
        """The table of its lines."""
        return f"execution_logs_{self.year:04}_{self.number:02}"

    @property
    def start(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.next.start

    @property
    def next(self) -> "Month":
        """The one after it."""
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


def months_from(first: Month, count: int) -> Iterator[Month]:
    """Yield consecutive months."""
    for _ in range(count):
        yield first
        first = first.next


@dataclass(frozen=True)
class Archive:
    """Where the lines of [since, until), which is a month, are, how many, and the SHA-256 of the file."""

    reference: str
    rows: int
    since: datetime
    until: datetime
    sha256: str

    @property
    def month(self) -> Month:
        """The month."""
        return Month.of(self.since)


@dataclass(frozen=True)
class LinesOfJob:
    """The lines of one job of a tenant that were said in [since, until)."""

    organization_id: UUID
    job_id: UUID
    since: datetime
    until: datetime


def archive_month(connection: Connection, url: str, month: Month, earlier: Archive | None) -> Archive:
    """Write the lines that the database has of a month, and those of an earlier archive, into a new one.

    Raises `LogArchiveNotWritten` and, for the earlier one, `LogArchiveUnusable`.
    """
    copying = render("log_partitions/copy_month", {"partition": month.partition}).encode()
    with tempfile.TemporaryDirectory(prefix="execmetrics-") as folder:
        copied = Path(folder) / "lines.csv"
        try:
            with copied.open("wb") as file, connection.cursor().copy(copying) as copy:
                file.writelines(copy)
        except OSError as full:
            raise LogArchiveNotWritten(f"({month}: {words_of(full)})") from full
        schema = dict.fromkeys(_COPIED, pl.String) | _NUMBERS
        lines = pl.scan_csv(copied, has_header=False, schema=schema, glob=False).with_columns(
            pl.col("id", "organization_id", "job_id").str.decode("hex"),
            pl.col("timestamp").cast(pl.Datetime("us", "UTC")),
        )
        if earlier is not None:
            lines = pl.concat([_opened(earlier), lines]).unique("id").sort(_ORDER)
        return _write(lines, located(url), month)


def find_lines(
    archive: Archive, asked: LinesOfJob, levels: Sequence[str], before: tuple[datetime, int, UUID], rows: int
) -> list[dict[str, Any]]:
    """The newest lines of a job before a place, `rows` at most. Raises `LogArchiveUnusable`."""
    lines, (moment, number, line_id) = _of_job(archive, asked), before
    timestamp, sequence, key = pl.col("timestamp"), pl.col("sequence"), pl.col("id")
    beside = (sequence < number) | ((sequence == number) & (key < pl.lit(line_id.bytes)))
    older = (timestamp < moment) | ((timestamp == moment) & beside)
    with _reading(archive):
        found = (
            lines.filter(older, pl.col("level").is_in([str(level) for level in levels]))
            .sort("timestamp", "sequence", "id", descending=True)
            .head(rows)
            .drop("organization_id")
            .collect()
        )
    return [_as_stored(row) for row in found.iter_rows(named=True)]


def count_levels(archive: Archive, asked: LinesOfJob) -> Mapping[str, int]:
    """How many lines of each level a job has. Raises `LogArchiveUnusable`."""
    lines = _of_job(archive, asked)
    with _reading(archive):
        return dict(lines.group_by("level").agg(pl.len()).collect().iter_rows())


def delete_from_archive(archive: Archive, organization_id: UUID, job_id: UUID) -> Archive | None:
    """Write the archive anew without the lines of a job, beside the old one; None when there are none.

    Raises `LogArchiveUnusable` and `LogArchiveNotWritten`.
    """
    all_of_them = LinesOfJob(organization_id, job_id, archive.since, archive.until)
    if not count_levels(archive, all_of_them):
        return None
    kept = _opened(archive).filter(~_is_of(all_of_them))
    return _write(kept, archive.reference.rpartition("/")[0], archive.month)


def verify_archive(archive: Archive) -> None:
    """Read an archive whole. Raises `LogArchiveUnusable` unless it is the file that was written."""
    url, _, name = archive.reference.rpartition("/")
    summed = hashlib.sha256()
    with _reading(archive):
        for part in obstore.get(store_at(url), name).stream(min_chunk_size=_PART_BYTES):
            summed.update(part)
    if summed.hexdigest() != archive.sha256:
        raise LogArchiveUnusable(f"({archive.month}: {archive.reference})")


def sweep_archives(url: str, referred: Collection[str], now: datetime) -> int:
    """Remove the archives that nothing refers to any more; return how many.

    A young one may be somebody's who has not committed yet. Raises `LogArchiveNotWritten`.
    """
    location, removed = located(url), 0
    try:
        store = store_at(location)
        found = [each for page in obstore.list(store) for each in page]
        for each in found:
            orphan = _NAMED.fullmatch(each["path"]) and f"{location}/{each['path']}" not in referred
            if orphan and now - each["last_modified"] > _ABANDONED_AFTER:
                obstore.delete(store, each["path"])
                removed += 1
    except _FAILED as failed:
        raise LogArchiveNotWritten(said_of(failed)) from failed
    return removed


def _write(lines: pl.LazyFrame, location: str, month: Month) -> Archive:
    """Write a new archive, and read it again: what cannot be read must not be relied on."""
    name = f"{month.partition}-{uuid4().hex[:12]}.parquet"
    with tempfile.TemporaryDirectory(prefix="execmetrics-") as folder:
        try:
            file = Path(folder) / name
            lines.sink_parquet(file, row_group_size=_GROUP_ROWS)
            rows = pl.scan_parquet(file, glob=False).select(pl.len()).collect().item()
            with file.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            obstore.put(store_at(location), name, file)
            settle(location, name)
            written = Archive(f"{location}/{name}", rows, month.start, month.end, sha256)
            verify_archive(written)
        except (*_FAILED, LogArchiveUnusable) as failed:
            raise LogArchiveNotWritten(f"({month}: {words_of(failed)})") from failed
    return written


def _opened(archive: Archive) -> pl.LazyFrame:
    """All lines. Its footer tells how many there are, so another file, or half of one, is noticed."""
    with _reading(archive):
        lines = pl.scan_parquet(archive.reference, glob=False)
        if lines.select(pl.len()).collect().item() != archive.rows:
            raise LogArchiveUnusable(f"({archive.month}: {archive.reference})")
    return lines


def _of_job(archive: Archive, asked: LinesOfJob) -> pl.LazyFrame:
    in_time = (pl.col("timestamp") >= asked.since) & (pl.col("timestamp") < asked.until)
    return _opened(archive).filter(_is_of(asked), in_time)


def _is_of(asked: LinesOfJob) -> pl.Expr:
    organization, job = pl.lit(asked.organization_id.bytes), pl.lit(asked.job_id.bytes)
    return (pl.col("organization_id") == organization) & (pl.col("job_id") == job)


def _as_stored(row: dict[str, Any]) -> dict[str, Any]:
    """A line as the database would have given it."""
    return row | {
        "id": UUID(bytes=row["id"]),
        "job_id": UUID(bytes=row["job_id"]),
        "timestamp": row["timestamp"].astimezone(UTC),
        "metadata": None if row["metadata"] is None else json.loads(row["metadata"]),
    }


@contextmanager
def _reading(archive: Archive) -> Iterator[None]:
    try:
        yield
    except _FAILED as failed:
        if obstacle := obstacle_of(failed):
            raise obstacle(said_of(failed)) from failed
        raise LogArchiveUnusable(f"({archive.month}: {archive.reference})") from failed
