"""Load a trace into the source schema, for development and tests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import psycopg

from pipelines.devtools.trace_files import LOGS, TABLES, ignored_files, read_trace
from pipelines.errors import InvalidTrace, SchemaMissing, SourceMissing
from pipelines.executions.log_archive import Month
from pipelines.executions.log_partitions import make_partitions, why_not_ours
from pipelines.postgres.connections import Databases, connect
from pipelines.postgres.statements import statement
from pipelines.settings import Settings

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
