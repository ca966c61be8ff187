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
from pipelines.facts.object_stores import settle, store_at
from pipelines.postgres.connections import Connection
from pipelines.postgres.failures import obstacle_of, said_of, words_of
from pipelines.postgres.statements import statement
from pipelines.settings import located

# As log_partitions/copy_month gives them: ids in hexadecimal digits, the timestamp as a number.
_COPIED: Final = {
    "id": pl.String,
    "organization_id": pl.String,
    "job_id": pl.String,
    "sequence": pl.Int32,
    "level": pl.String,
    "timestamp": pl.Int64,
    "step_name": pl.String,
    "message": pl.String,
    "duration_ms": pl.Float64,
    "metadata": pl.String,
}

# So the lines of a job are neighbours, and of a file no more is read than the groups that may hold them.
_ORDER: Final = ("organization_id", "job_id", "timestamp", "sequence", "id")
_GROUP_ROWS: Final = 20_000

# So much of a file is read at a time to take its sum.
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
    """Yield so many months in a row."""
    for _ in range(count):
        yield first
        first = first.next


@dataclass(frozen=True)
class Archive:
    """Where the lines of [since, until), which is a month, are, and how many."""

    reference: str
    rows: int
    since: datetime
    until: datetime

    @property
    def month(self) -> Month:
        """The month."""
        return Month.of(self.since)


@dataclass(frozen=True)
class Written(Archive):
    """An archive that has just been written and read again, and the SHA-256 of its file."""

    sha256: str

    @property
    def columns(self) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "month_start": self.since,
            "archive_reference": self.reference,
            "archive_sha256": self.sha256,
            "archived_rows": self.rows,
        }


def archive_month(connection: Connection, url: str, month: Month, earlier: Archive | None) -> Written:
    """Write the lines that the database has of a month, and those of an earlier archive, into a new one.

    Raises `LogArchiveNotWritten` and, for the earlier one, `LogArchiveUnusable`.
    """
    with tempfile.TemporaryDirectory(prefix="execmetrics-") as folder:
        copied = Path(folder) / "lines.csv"
        for name, moment in (("since", month.start), ("until", month.end)):
            values = [f"execmetrics.{name}", moment.isoformat()]
            connection.execute("SELECT set_config(%s, %s, true)", values)
        try:
            copying = statement("log_partitions/copy_month").encode()
            with copied.open("wb") as file, connection.cursor().copy(copying) as copy:
                for part in copy:
                    file.write(part)
        except OSError as full:
            raise LogArchiveNotWritten(f"({month}: {words_of(full)})") from full
        lines = _lines_of(copied)
        if earlier is not None:
            lines = pl.concat([_opened(earlier), lines]).unique("id").sort(_ORDER)
        return _write(lines, located(url), month)


def find_lines(
    archive: Archive,
    organization_id: UUID,
    job_id: UUID,
    since: datetime,
    until: datetime,
    *,
    levels: Sequence[str],
    before: tuple[datetime, int, UUID],
    rows: int,
) -> list[dict[str, Any]]:
    """The newest lines of a job before a place, `rows` at most. Raises `LogArchiveUnusable`."""
    lines = _of_job(archive, organization_id, job_id, since, until)
    timestamp, sequence, line_id = before
    older = (pl.col("timestamp") < timestamp) | (
        (pl.col("timestamp") == timestamp)
        & (
            (pl.col("sequence") < sequence)
            | ((pl.col("sequence") == sequence) & (pl.col("id") < pl.lit(line_id.bytes)))
        )
    )
    with _reading(archive):
        found = (
            lines.filter(older, pl.col("level").is_in([str(level) for level in levels]))
            .sort("timestamp", "sequence", "id", descending=True)
            .head(rows)
            .drop("organization_id")
            .collect()
        )
    return [_as_stored(row) for row in found.iter_rows(named=True)]


def count_levels(
    archive: Archive, organization_id: UUID, job_id: UUID, since: datetime, until: datetime
) -> Mapping[str, int]:
    """How many lines of each level a job has. Raises `LogArchiveUnusable`."""
    lines = _of_job(archive, organization_id, job_id, since, until)
    with _reading(archive):
        return dict(lines.group_by("level").agg(pl.len()).collect().iter_rows())


def delete_from_archive(archive: Archive, organization_id: UUID, job_id: UUID) -> Written | None:
    """Write the archive anew without the lines of a job, beside the old one; None when there are none.

    Raises `LogArchiveUnusable` and `LogArchiveNotWritten`.
    """
    if not count_levels(archive, organization_id, job_id, archive.since, archive.until):
        return None
    kept = _opened(archive).filter(~_is_of(organization_id, job_id))
    return _write(kept, archive.reference.rpartition("/")[0], archive.month)


def verify_archive(archive: Archive, sha256: str) -> None:
    """Read an archive whole. Raises `LogArchiveUnusable` unless it is the file that was written."""
    url, _, name = archive.reference.rpartition("/")
    summed = hashlib.sha256()
    with _reading(archive):
        for part in obstore.get(store_at(url), name).stream(min_chunk_size=_PART_BYTES):
            summed.update(part)
    if summed.hexdigest() != sha256:
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


def _write(lines: pl.LazyFrame, location: str, month: Month) -> Written:
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
            written = Written(f"{location}/{name}", rows, month.start, month.end, sha256)
            verify_archive(written, sha256)
        except (*_FAILED, LogArchiveUnusable) as failed:
            raise LogArchiveNotWritten(f"({month}: {words_of(failed)})") from failed
    return written


def _lines_of(copied: Path) -> pl.LazyFrame:
    """The copied lines as an archive has them."""
    lines = pl.scan_csv(copied, has_header=False, schema=_COPIED, glob=False)
    return lines.with_columns(
        pl.col("id", "organization_id", "job_id").str.decode("hex"),
        pl.col("timestamp").cast(pl.Datetime("us", "UTC")),
    )


def _opened(archive: Archive) -> pl.LazyFrame:
    """All lines. Its footer tells how many there are, so another file, or half of one, is noticed."""
    with _reading(archive):
        lines = pl.scan_parquet(archive.reference, glob=False)
        if lines.select(pl.len()).collect().item() != archive.rows:
            raise LogArchiveUnusable(f"({archive.month}: {archive.reference})")
    return lines


def _of_job(
    archive: Archive, organization_id: UUID, job_id: UUID, since: datetime, until: datetime
) -> pl.LazyFrame:
    in_time = (pl.col("timestamp") >= since) & (pl.col("timestamp") < until)
    return _opened(archive).filter(_is_of(organization_id, job_id), in_time)


def _is_of(organization_id: UUID, job_id: UUID) -> pl.Expr:
    return (pl.col("organization_id") == pl.lit(organization_id.bytes)) & (
        pl.col("job_id") == pl.lit(job_id.bytes)
    )


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
