"""Load a trace, a folder of gzipped CSV files with the jobs of a workflow service, into the source schema."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import psycopg
from psycopg import errors

from pipelines.errors import InvalidTrace, SchemaMissing, SourceMissing
from pipelines.executions.log_archive import Month
from pipelines.executions.log_partitions import make_partitions, why_not_ours
from pipelines.postgres.connections import Run, connect
from pipelines.postgres.copying import copy_frame
from pipelines.postgres.statements import body, render
from pipelines.subjects.dimensions import RESERVED_IDS, RESERVED_INITIATORS
from pipelines.subjects.jobs import FINISHED, Status
from pipelines.subjects.steps import Level

_REQUIRED: Final = {
    "organizations": ("organization_id", "name"),
    "workflows": ("workflow_id", "organization_id", "name"),
    "clients": ("client_id", "organization_id", "name"),
    "jobs": ("job_id", "organization_id", "workflow_id", "status", "created_at"),
    "execution_logs": ("job_id", "seq", "level", "timestamp"),
}

# A trace without one of these is complete: every row then has none.
_OPTIONAL: Final = {
    "organizations": ("time_zone", "deleted_at"),
    "workflows": ("deleted_at",),
    "clients": ("deleted_at",),
    "jobs": ("client_id", "initiator_type", "started_at", "completed_at", "deleted_at"),
    "execution_logs": ("step_name", "duration_ms"),
}

LOGS: Final = "execution_logs"
TABLES: Final = tuple(table for table in _REQUIRED if table != LOGS)

# Each row of the first table names one of the second, which has to be of the same organization.
_REFERENCES: Final = (
    ("workflows", "organizations"),
    ("clients", "organizations"),
    ("jobs", "organizations"),
    ("jobs", "workflows"),
    ("jobs", "clients"),
    (LOGS, "jobs"),
)

_MOST: Final = 2**31 - 1

# The last year whose months all have an end.
_LAST_YEAR: Final = 9998

_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d(:?\d\d)?)$"
_RESERVED = [str(reserved) for reserved in RESERVED_IDS]

# The words of a column that has no other ones.
_WORDS: Final[dict[str, list[str]]] = {"status": [*Status], "level": [*Level]}

_NO_TIME: Final = "not a time; write it like 2024-01-31T08:00:00.000Z, zone included."
_UNREAD: Final = {
    "seq": f"not a whole number from 0 to {_MOST}; correct it.",
    "duration_ms": "not a number; write it like 1234.5, or leave it empty.",
}


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
    run: Run,
) -> ImportReport:
    """Bring the rows of a trace into the source by id, all of them or none; identical rows stay as they are.

    `updated_at` is the time of the import, and so is `created_at` where a trace has none. Rows that
    the trace does not mention stay, so several traces can share a database. Logs get the partitions of
    their months first.
    """
    with connect(run.databases.source_url, run.settings) as connection:
        with_logs = why_not_ours(connection) is None
    trace = read_trace(directory, with_logs=with_logs)
    run.stages.tell("read", sum(frame.height for frame in trace.values()))

    tables: list[ImportedTable] = []
    try:
        if LOGS in trace:
            months = trace[LOGS]["timestamp"].dt.truncate("1mo").unique()
            with connect(run.databases.source_url, run.settings, autocommit=True) as connection:
                make_partitions(connection, map(Month.of, months))
        with connect(run.databases.source_url, run.settings) as connection:
            for name, rows in trace.items():
                tables.append(ImportedTable(name, rows.height, _write(connection, name, rows)))
                run.stages.tell("load", sum(table.rows for table in tables))
    except psycopg.IntegrityError as refused:
        rule = refused.diag.constraint_name
        raise InvalidTrace(
            f"It contradicts rows that are in the database already ({rule}); import into an empty database."
        ) from refused
    except (errors.UndefinedTable, errors.UndefinedColumn) as missing:
        raise SchemaMissing() if run.databases.same else SourceMissing() from missing
    known = {_file(table) for table in TABLES} | ({_file(LOGS)} if with_logs else set())
    ignored = sorted(path.name for path in directory.glob("*.csv.gz") if path.name not in known)
    return ImportReport(tuple(tables), tuple(ignored))


def read_trace(directory: Path, *, with_logs: bool = True) -> dict[str, pl.DataFrame]:
    """The rows of each table in `TABLES`, with the names of the files' columns; every reference holds.

    Those of `LOGS` too, if they are wanted and the folder has a file of them.
    """
    if not directory.is_dir():
        raise InvalidTrace(f"There is no folder {directory}; name one that holds {_file('jobs')}.")
    there = (*TABLES, LOGS) if with_logs and (directory / _file(LOGS)).exists() else TABLES
    trace = {table: _checked(table, _rows(directory / _file(table), table)) for table in there}
    for table, target in _REFERENCES:
        if table in trace:
            _check_references(table, trace[table], target, trace[target])
    return {table: frame.drop("line") for table, frame in trace.items()}


def _write(connection: psycopg.Connection, table: str, rows: pl.DataFrame) -> int:
    """Stage the rows of a file and merge them into their table; return how many were new or changed."""
    renamed = {"seq": "sequence"} if table == LOGS else {_id_of(table): "id"}
    rows = rows.rename(renamed).with_columns(
        pl.col("^(.*_)?id$").str.replace_all("-", "", literal=True).str.decode("hex"),
        pl.col("^time_zone$").fill_null("UTC"),
    )
    staged = {"table": table, "columns": ", ".join(rows.columns)}
    connection.execute(render("trace_import/stage", staged).encode())
    copy_frame(connection, render("trace_import/copy", staged), rows)
    written = [*rows.columns, "updated_at"]
    if table == LOGS:
        connection.execute(body("trace_import/delete_moved_lines").encode())
        written = ["id", "organization_id", *rows.columns]
    merged = staged | {
        "rows": body("trace_import/lines") if table == LOGS else render("trace_import/rows", staged),
        "key": "id, timestamp" if table == LOGS else "id",
        "written": ", ".join(written),
        "new_values": ", ".join(f"excluded.{name}" for name in written),
        "stored": ", ".join(f"stored.{name}" for name in rows.columns),
        "new": ", ".join(f"excluded.{name}" for name in rows.columns),
    }
    return connection.execute(render("trace_import/merge", merged).encode()).rowcount


def _file(table: str) -> str:
    return f"{table}.csv.gz"


def _id_of(table: str) -> str:
    return f"{table.removesuffix('s')}_id"


def _rows(path: Path, table: str) -> pl.DataFrame:
    """Every row as text, absent columns and empty fields as NULL, beside its `line` in the file."""
    content = _content(path)
    try:
        header = next(csv.reader(io.StringIO(content.partition("\n")[0])), [])
    except csv.Error:
        raise InvalidTrace(f"{path.name}, line 1: not CSV; write the file again.") from None
    # A file without a header would name its first row, so only names of ours are ever repeated.
    missing = [name for name in _REQUIRED[table] if name not in header]
    if missing:
        raise InvalidTrace(f"{path.name}, line 1: the header lacks {', '.join(missing)}; add the columns.")
    columns = _REQUIRED[table] + _OPTIONAL[table]
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
    columns = _REQUIRED[table] + _OPTIONAL[table]
    ids = [name for name in columns if name.endswith("_id")]
    rows = rows.with_columns(pl.col(ids).str.to_lowercase())
    typed = rows.with_columns(read(pl.col(name)).alias(name) for name in columns if (read := _reader(name)))
    wrong = [(name, rows[name].is_null(), "empty; every row needs one.") for name in _REQUIRED[table]]
    for name in ids:
        not_an_id = "not a UUID; write it as 8-4-4-4-12 hexadecimal digits."
        wrong.append((name, ~rows[name].str.contains(_UUID), not_an_id))
        reserved = "a reserved UUID, nil or max; give the row another one."
        wrong.append((name, rows[name].is_in(_RESERVED), reserved))
    for name in columns:
        unread = typed[name].is_null() & rows[name].is_not_null()
        wrong.append((name, unread, _UNREAD.get(name, _NO_TIME)))
    key = ["job_id", "seq"] if table == LOGS else [_id_of(table)]
    again = ~typed.select(pl.struct(key).is_first_distinct()).to_series()
    wrong.append((key[-1], again, "the same as on an earlier line; keep one of them."))
    for name, values in _WORDS.items():
        if name in columns:
            wrong.append((name, ~typed[name].is_in(values), f"unknown; it is one of {', '.join(values)}."))
    if table == "jobs":
        reserved = "a reserved word; call it something else."
        wrong.append(("initiator_type", typed["initiator_type"].is_in(RESERVED_INITIATORS), reserved))
        unfinished = typed["status"].is_in(list(FINISHED)) & typed["completed_at"].is_null()
        wrong.append(("completed_at", unfinished, "empty, but the job has finished; fill it in."))
    if table == LOGS:
        late = typed["timestamp"].dt.year() > _LAST_YEAR
        wrong.append(("timestamp", late, f"after the year {_LAST_YEAR}; correct it."))
    for name, where, complaint in wrong:
        _refuse(table, name, rows.filter(where), complaint)
    return typed


def _reader(column: str) -> Callable[[pl.Expr], pl.Expr] | None:
    """How the text of a column is read, where it is not kept as text: what cannot be read becomes NULL."""
    if column.endswith("_at"):
        return _as_time
    return {"timestamp": _as_time, "seq": _as_whole, "duration_ms": _as_number}.get(column)


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


def _check_references(table: str, rows: pl.DataFrame, target: str, targets: pl.DataFrame) -> None:
    """Refuse an id that the target's file does not hold, or holds for another organization."""
    name = _id_of(target)
    owners = targets.select(name, pl.col("organization_id").alias("owner"))
    linked = rows.filter(pl.col(name).is_not_null()).join(owners, on=name, how="left")
    lost = f"not in {_file(target)}; add the row there, or correct the id."
    _refuse(table, name, linked.filter(pl.col("owner").is_null()), lost)
    if table != LOGS:
        foreign = f"belongs to another organization in {_file(target)}; correct the id."
        _refuse(table, name, linked.filter(pl.col("owner") != pl.col("organization_id")), foreign)


def _refuse(table: str, column: str, wrong: pl.DataFrame, complaint: str) -> None:
    """Name the first of the wrong lines and how many there are; values may be of patients and stay unsaid."""
    if wrong.is_empty():
        return
    more = f" (and {wrong.height - 1} more like it)" if wrong.height > 1 else ""
    line = wrong.select(pl.col("line").min()).item()
    raise InvalidTrace(f"{_file(table)}, line {line}, column {column}: {complaint}{more}")
