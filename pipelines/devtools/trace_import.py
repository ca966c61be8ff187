"""Load a trace, a folder of gzipped CSV files with the jobs of a workflow service, into the source schema."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

import polars as pl
import psycopg

from pipelines.errors import InvalidTrace, SchemaMissing, SourceMissing
from pipelines.executions.log_archive import Month
from pipelines.executions.log_partitions import make_partitions, why_not_ours
from pipelines.postgres.connections import Databases, connect
from pipelines.postgres.statements import statement
from pipelines.settings import Settings
from pipelines.subjects.dimensions import RESERVED_IDS, RESERVED_INITIATORS
from pipelines.subjects.jobs import FINISHED, Status
from pipelines.subjects.steps import Level


class Kind(Enum):
    """How the text of a column is read."""

    ID = auto()
    TEXT = auto()
    TIME = auto()
    WHOLE = auto()
    NUMBER = auto()


_REQUIRED: Final = {
    "organizations": {"organization_id": Kind.ID, "name": Kind.TEXT},
    "workflows": {"workflow_id": Kind.ID, "organization_id": Kind.ID, "name": Kind.TEXT},
    "clients": {"client_id": Kind.ID, "organization_id": Kind.ID, "name": Kind.TEXT},
    "jobs": {
        "job_id": Kind.ID,
        "organization_id": Kind.ID,
        "workflow_id": Kind.ID,
        "status": Kind.TEXT,
        "created_at": Kind.TIME,
    },
    "execution_logs": {
        "job_id": Kind.ID,
        "seq": Kind.WHOLE,
        "level": Kind.TEXT,
        "timestamp": Kind.TIME,
    },
}

# A trace without one of these is complete: every row then has none.
_OPTIONAL: Final = {
    "organizations": {"time_zone": Kind.TEXT, "deleted_at": Kind.TIME},
    "workflows": {"deleted_at": Kind.TIME},
    "clients": {"deleted_at": Kind.TIME},
    "jobs": {
        "client_id": Kind.ID,
        "initiator_type": Kind.TEXT,
        "started_at": Kind.TIME,
        "completed_at": Kind.TIME,
        "deleted_at": Kind.TIME,
    },
    "execution_logs": {"step_name": Kind.TEXT, "duration_ms": Kind.NUMBER},
}

LOGS: Final = "execution_logs"
TABLES: Final = tuple(table for table in _REQUIRED if table != LOGS)

_MOST: Final = 2**31 - 1

# The last year whose months all have an end.
_LAST_YEAR: Final = 9998

_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d(:?\d\d)?)$"
_AGAIN = "the same as on an earlier line; keep one of them."
_RESERVED = [str(reserved) for reserved in RESERVED_IDS]


def read_trace(directory: Path, *, with_logs: bool = True) -> dict[str, pl.DataFrame]:
    """The rows of each table in `TABLES`, with the names of the files' columns; every reference holds.

    Those of `LOGS` too, if they are wanted and there is a file of them.
    """
    if not directory.is_dir():
        raise InvalidTrace(f"There is no folder {directory}; name one that holds {_file('jobs')}.")
    trace = {table: _checked(table, _rows(directory / _file(table), table)) for table in TABLES}
    for table, target in (
        ("workflows", "organizations"),
        ("clients", "organizations"),
        ("jobs", "organizations"),
        ("jobs", "workflows"),
        ("jobs", "clients"),
    ):
        _check_references(table, trace[table], target, trace[target])
    if with_logs and (directory / _file(LOGS)).exists():
        trace[LOGS] = _checked(LOGS, _rows(directory / _file(LOGS), LOGS))
        jobs = trace["jobs"].select("job_id")
        lost = f"not in {_file('jobs')}; add the row there, or correct the id."
        _refuse(LOGS, "job_id", trace[LOGS].join(jobs, on="job_id", how="anti"), lost)
    return {table: frame.drop("line") for table, frame in trace.items()}


def ignored_files(directory: Path, *, with_logs: bool = True) -> tuple[str, ...]:
    """The files of the folder that belong to no table of the source."""
    known = {_file(table) for table in (*TABLES, LOGS) if with_logs or table != LOGS}
    return tuple(sorted(path.name for path in directory.glob("*.csv.gz") if path.name not in known))


def _file(table: str) -> str:
    return f"{table}.csv.gz"


def _rows(path: Path, table: str) -> pl.DataFrame:
    """Every row as text, absent columns and empty fields as NULL, beside its `line` in the file."""
    content = _content(path)
    header = _header(path.name, content)
    # A file without a header would name its first row, so only names of ours are ever repeated.
    missing = [name for name in _REQUIRED[table] if name not in header]
    if missing:
        raise InvalidTrace(f"{path.name}, line 1: the header lacks {', '.join(missing)}; add the columns.")
    columns = _REQUIRED[table] | _OPTIONAL[table]
    twice = [name for name in columns if header.count(name) > 1]
    if twice:
        raise InvalidTrace(f"{path.name}, line 1: the header names {', '.join(twice)} twice; keep one.")
    expected = _checked_records(path.name, content, len(header))
    unpaired = f"{path.name}: the quotes do not pair up; write the file as CSV again."
    try:
        read = pl.read_csv(content.encode(), infer_schema=False)
    except pl.exceptions.PolarsError:
        raise InvalidTrace(unpaired) from None
    # A line break inside quotes is part of the row, not the start of the next one.
    breaks = pl.sum_horizontal(pl.all().str.count_matches("\n").fill_null(0)).cum_sum()
    line = (pl.int_range(2, pl.len() + 2, dtype=pl.Int64) + breaks.shift(1, fill_value=0)).alias("line")
    absent = [pl.lit(None, pl.String).alias(name) for name in columns if name not in header]
    filled = read.with_columns(line).filter(pl.any_horizontal(pl.exclude("line").is_not_null()))
    # Polars takes a stray quote for the beginning of a field that may go on to the end of the file.
    if expected is not None and filled.height != expected:
        raise InvalidTrace(unpaired)
    return filled.with_columns(absent).select("line", pl.col(*columns).replace("", None))


def _content(path: Path) -> str:
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise InvalidTrace(f"{path.name} is missing; put it into the folder.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InvalidTrace(f"{path.name} is damaged or not gzip; compress it again with gzip.") from None
    except OSError:
        raise InvalidTrace(f"{path.name} cannot be read; check that it is a file and may be read.") from None
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as invalid:
        line = raw.count(b"\n", 0, invalid.start) + 1
        raise InvalidTrace(f"{path.name}, line {line}: not UTF-8; convert the file.") from None
    if "\0" in content:
        line = content.count("\n", 0, content.index("\0")) + 1
        raise InvalidTrace(f"{path.name}, line {line}: holds a NUL character; remove it.")
    return content


def _header(file: str, content: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(content.partition("\n")[0])), [])
    except csv.Error:
        raise InvalidTrace(f"{file}, line 1: not CSV; write the file again.") from None


def _checked_records(file: str, content: str, width: int) -> int | None:
    """How many records there are below the header, if that has to be counted.

    A line that was cut short or holds more fields than the header would shift its values and is refused.
    """
    lines = content.removesuffix("\n").split("\n")
    if '"' not in content and all(line.count(",") == width - 1 for line in lines):
        return None
    records = -1
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        for fields in reader:
            if fields and len(fields) != width:
                raise InvalidTrace(
                    f"{file}, line {reader.line_num}: has {len(fields)} fields where the header has {width};"
                    " complete the line, or quote a field that holds a comma."
                )
            records += any(fields)
    except csv.Error:
        raise InvalidTrace(f"{file}, line {reader.line_num}: not CSV; write the file again.") from None
    return records


def _checked(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their columns typed, or `InvalidTrace` with the first line that is wrong."""
    columns = _REQUIRED[table] | _OPTIONAL[table]
    ids = [name for name, kind in columns.items() if kind is Kind.ID]
    times = [name for name, kind in columns.items() if kind is Kind.TIME]
    rows = rows.with_columns(pl.col(ids).str.to_lowercase())
    typed = rows.with_columns(
        read(pl.col(name)).name.keep() for name, kind in columns.items() if (read := _READ.get(kind))
    )

    for name in _REQUIRED[table]:
        _refuse(table, name, rows.filter(pl.col(name).is_null()), "empty; every row needs one.")
    for name in ids:
        not_an_id = ~pl.col(name).str.contains(_UUID)
        _refuse(table, name, rows.filter(not_an_id), "not a UUID; write it as 8-4-4-4-12 hexadecimal digits.")
        reserved = pl.col(name).is_in(_RESERVED)
        _refuse(table, name, rows.filter(reserved), "a reserved UUID, nil or max; give the row another one.")
    for name in times:
        unread = typed.filter(pl.col(name).is_null() & rows[name].is_not_null())
        _refuse(table, name, unread, "not a time; write it like 2024-01-31T08:00:00.000Z, zone included.")
    if table == LOGS:
        _check_logs(rows, typed)
        return typed
    own_id = next(iter(columns))
    again = rows.filter(pl.col(own_id).is_not_null() & ~pl.col(own_id).is_first_distinct())
    _refuse(table, own_id, again, _AGAIN)
    if table == "jobs":
        _check_jobs(typed)
    return typed


def _as_time(text: pl.Expr) -> pl.Expr:
    parsed = text.str.replace(" ", "T", literal=True).str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False
    )
    # An offset can carry the first and the last day beyond the years that PostgreSQL and Python share.
    readable = text.str.contains(_TIME) & parsed.dt.year().is_between(1, 9999)
    return pl.when(readable).then(parsed)


def _as_whole(text: pl.Expr) -> pl.Expr:
    number = text.str.to_integer(strict=False)
    readable = text.str.contains(r"^\d{1,10}$") & number.is_between(0, _MOST)
    return pl.when(readable).then(number).cast(pl.Int32)


def _as_number(text: pl.Expr) -> pl.Expr:
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


_READ: Final = {Kind.TIME: _as_time, Kind.WHOLE: _as_whole, Kind.NUMBER: _as_number}


def _check_logs(rows: pl.DataFrame, typed: pl.DataFrame) -> None:
    for name, complaint in (
        ("seq", f"not a whole number from 0 to {_MOST}; correct it."),
        ("duration_ms", "not a number; write it like 1234.5, or leave it empty."),
    ):
        _refuse(LOGS, name, typed.filter(pl.col(name).is_null() & rows[name].is_not_null()), complaint)
    again = typed.filter(~pl.struct("job_id", "seq").is_first_distinct())
    _refuse(LOGS, "seq", again, _AGAIN)
    unknown = ~pl.col("level").is_in(list(Level))
    _refuse(LOGS, "level", typed.filter(unknown), f"unknown; it is one of {', '.join(Level)}.")
    late = pl.col("timestamp").dt.year() > _LAST_YEAR
    _refuse(LOGS, "timestamp", typed.filter(late), f"after the year {_LAST_YEAR}; correct it.")


def _check_jobs(jobs: pl.DataFrame) -> None:
    unknown = ~pl.col("status").is_in(list(Status))
    _refuse("jobs", "status", jobs.filter(unknown), f"unknown; it is one of {', '.join(Status)}.")
    reserved = pl.col("initiator_type").is_in(RESERVED_INITIATORS)
    _refuse("jobs", "initiator_type", jobs.filter(reserved), "a reserved word; call it something else.")
    unfinished = pl.col("status").is_in(list(FINISHED)) & pl.col("completed_at").is_null()
    _refuse("jobs", "completed_at", jobs.filter(unfinished), "empty, but the job has finished; fill it in.")


def _check_references(table: str, rows: pl.DataFrame, target: str, targets: pl.DataFrame) -> None:
    """Refuse an id that the target's file does not hold, or holds for another organization."""
    name = f"{target.removesuffix('s')}_id"
    owners = targets.select(name, pl.col("organization_id").alias("owner"))
    linked = rows.filter(pl.col(name).is_not_null()).join(owners, on=name, how="left")
    lost = f"not in {_file(target)}; add the row there, or correct the id."
    _refuse(table, name, linked.filter(pl.col("owner").is_null()), lost)
    foreign = f"belongs to another organization in {_file(target)}; correct the id."
    _refuse(table, name, linked.filter(pl.col("owner") != pl.col("organization_id")), foreign)


def _refuse(table: str, column: str, wrong: pl.DataFrame, complaint: str) -> None:
    """Name the first of the wrong lines and how many there are; values may be of patients and stay unsaid."""
    if wrong.is_empty():
        return
    more = f" (and {wrong.height - 1} more like it)" if wrong.height > 1 else ""
    line = wrong.select(pl.col("line").min()).item()
    raise InvalidTrace(f"{_file(table)}, line {line}, column {column}: {complaint}{more}")


# As trace_import/rows has them.
_STAGED_COLUMNS: Final = (
    "table_name",
    "id",
    "organization_id",
    "workflow_id",
    "client_id",
    "name",
    "time_zone",
    "initiator_type",
    "status",
    "created_at",
    "started_at",
    "completed_at",
    "deleted_at",
)

# As trace_import/log_rows has them.
_STAGED_LOG_COLUMNS: Final = ("job_id", "seq", "level", "timestamp", "step_name", "duration_ms")

# What COPY reads in its text format, where CSV would end early at a name that holds a line `\.`.
_ESCAPES: Final = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}


@dataclass(frozen=True)
class ImportedTable:
    """How many rows a file held, and how many of them were new or changed in the database."""

    name: str
    rows: int
    rows_written: int


@dataclass(frozen=True)
class ImportReport:
    """What an import did; `ignored` names the files for which the source has no table."""

    tables: tuple[ImportedTable, ...]
    ignored: tuple[str, ...]


def import_trace(
    directory: Path,
    databases: Databases,
    settings: Settings,
    *,
    on_progress: Callable[[str, int], None] | None = None,
) -> ImportReport:
    """Bring the rows of a trace into the source by id, all of them or none; identical rows stay as they are.

    `updated_at` is the time of the import, and so is `created_at` where a trace has none. Rows that
    the trace does not mention stay, so several traces can share a database. Logs get the partitions of
    their months first.
    """
    progress = on_progress or (lambda _stage, _rows: None)
    with connect(databases.source_url, settings) as connection:
        with_logs = why_not_ours(connection) is None
    trace = read_trace(directory, with_logs=with_logs)
    progress("read", sum(frame.height for frame in trace.values()))

    tables = []
    try:
        if LOGS in trace:
            _make_months(databases, settings, trace[LOGS])
        with connect(databases.source_url, settings) as connection:
            _stage(connection, trace)
            for name in trace:
                written = connection.execute(statement(f"trace_import/{name}").encode()).rowcount
                tables.append(ImportedTable(name, trace[name].height, written))
                progress("load", sum(table.rows for table in tables))
    except psycopg.IntegrityError as refused:
        rule = refused.diag.constraint_name
        raise InvalidTrace(
            f"It contradicts rows that are in the database already ({rule}); import into an empty database."
        ) from refused
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.UndefinedObject,
    ) as missing:
        raise SchemaMissing() if databases.same else SourceMissing() from missing
    return ImportReport(tuple(tables), ignored_files(directory, with_logs=with_logs))


def _make_months(databases: Databases, settings: Settings, logs: pl.DataFrame) -> None:
    months = logs["timestamp"].dt.truncate("1mo").unique()
    with connect(databases.source_url, settings, autocommit=True) as connection:
        make_partitions(connection, map(Month.of, months))


def _stage(connection: psycopg.Connection, trace: dict[str, pl.DataFrame]) -> None:
    connection.execute(statement("trace_import/staging").encode())
    with connection.cursor().copy(statement("trace_import/rows").encode()) as copy:
        copy.write(_copy_text(trace))
    if LOGS in trace:
        connection.execute(statement("trace_import/log_staging").encode())
        with connection.cursor().copy(statement("trace_import/log_rows").encode()) as copy:
            copy.write(_as_text(trace[LOGS].select(_STAGED_LOG_COLUMNS)))
        connection.execute(statement("trace_import/moved_logs").encode())


def _copy_text(trace: dict[str, pl.DataFrame]) -> str:
    """The rows of `TABLES`, all in one, in the text format of COPY."""
    own_ids = {name: f"{name.removesuffix('s')}_id" for name in TABLES}
    rows = pl.concat(
        [
            frame.with_columns(pl.lit(name).alias("table_name"), pl.col(own_ids[name]).alias("id"))
            for name, frame in trace.items()
            if name in TABLES
        ],
        how="diagonal",
    )
    return _as_text(rows.select(_STAGED_COLUMNS))


def _as_text(rows: pl.DataFrame) -> str:
    """Rows in the text format of COPY."""
    escaped = rows.with_columns(pl.col(pl.String).str.replace_many(_ESCAPES))
    return escaped.write_csv(
        include_header=False,
        separator="\t",
        quote_style="never",
        null_value=r"\N",
        datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ",
    )
