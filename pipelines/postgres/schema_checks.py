"""Whether the databases have the tables that this version expects."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from psycopg import errors

from pipelines.errors import SchemaMissing, SchemaNewer, SourceMissing
from pipelines.postgres.connections import Connection, Run, connect
from pipelines.postgres.schemas import ANALYTICS, ORCHESTRATION, SOURCE_COLUMNS
from pipelines.postgres.statements import statement

_PACKAGED = Path(str(resources.files("pipelines").joinpath("_migrations")))
_CHECKOUT = Path(__file__).resolve().parents[2] / "migrations"


def require_schema(run: Run) -> None:
    """Raise `SchemaMissing` unless analytics is up to date, `SourceMissing` unless the source is readable."""
    require_analytics(run)
    require_source(run)


def require_analytics(run: Run) -> None:
    """Raise `SchemaMissing` unless the analytics schema is at the newest revision."""
    with connect(run.databases.analytics_url, run.settings) as connection:
        require_analytics_at(connection)


def require_analytics_at(connection: Connection) -> None:
    """The same over a connection that is there already."""
    revision = _stored_analytics_revision(connection)
    if revision is not None and revision not in revisions(ANALYTICS):
        raise SchemaNewer
    if revision != revisions(ANALYTICS)[0]:
        raise SchemaMissing


def require_source(run: Run) -> None:
    """Raise `SourceMissing`, naming what is absent or forbidden, unless every column we read is readable."""
    missing = _unreadable(run, SOURCE_COLUMNS)
    if missing:
        raise SourceMissing(f"Absent or not readable: {_summary(missing)}.")


def has_definitions(run: Run) -> bool:
    """Whether the source says where definitions of workflows are, and this role may read it."""
    columns = {"organizations": ("id",), "workflows": ("organization_id", "definition_reference")}
    return not _unreadable(run, columns)


def migrations_folder() -> Path:
    """Where the migrations are, a folder for each branch."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


@cache
def revisions(branch: str) -> tuple[str, ...]:
    """Every revision of a branch, newest first, by the numbers in front of the names of its files.

    Alembic would import each of the files, and a command that only asks would import Alembic.
    """
    files = sorted((migrations_folder() / branch).glob("[0-9]*.py"), reverse=True)
    return tuple(f"{branch}_{file.name[:4]}" for file in files)


def _unreadable(run: Run, wanted: Mapping[str, Sequence[str]]) -> Sequence[tuple[str, str]]:
    """The columns that the source lacks or keeps from this role."""
    pairs = [(table, column) for table, columns in wanted.items() for column in columns]
    tables, columns = zip(*pairs, strict=True)
    with connect(run.databases.source_url, run.settings) as connection:
        return connection.execute(
            statement("migrations/unreadable_columns"),
            {"schema": ORCHESTRATION, "tables": list(tables), "columns": list(columns)},
        ).fetchall()


def _stored_analytics_revision(connection: Connection) -> str | None:
    try:
        row = connection.execute(statement("migrations/analytics_revision")).fetchone()
    except (errors.UndefinedTable, errors.InsufficientPrivilege) as absent:
        raise SchemaMissing from absent
    return None if row is None else row[0]


def _summary(missing: Sequence[tuple[str, str]]) -> str:
    """Tables of which nothing is readable by name, other columns one by one."""
    by_table: dict[str, list[str]] = {}
    for table, column in missing:
        by_table.setdefault(table, []).append(column)
    return ", ".join(
        table if len(columns) == len(SOURCE_COLUMNS[table]) else f"{table}.{column}"
        for table, columns in by_table.items()
        for column in (columns if len(columns) < len(SOURCE_COLUMNS[table]) else columns[:1])
    )
