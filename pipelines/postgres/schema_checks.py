"""Whether the databases have the tables that this version expects."""

from collections.abc import Mapping, Sequence
from functools import cache

from psycopg import errors

from pipelines.errors import SchemaMissing, SchemaNewer, SourceMissing
from pipelines.postgres.connections import Connection, Run, connect
from pipelines.postgres.schemas import ANALYTICS, ORCHESTRATION, SOURCE_COLUMNS
from pipelines.postgres.statements import folder_of, statement


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
    try:
        row = connection.execute(statement("migrations/analytics_revision")).fetchone()
    except (errors.UndefinedTable, errors.InsufficientPrivilege) as absent:
        raise SchemaMissing from absent
    if row and row[0] not in revisions(ANALYTICS):
        raise SchemaNewer
    if row is None or row[0] != revisions(ANALYTICS)[0]:
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


@cache
def revisions(branch: str) -> tuple[str, ...]:
    """Every revision of a branch, newest first, by the numbers in front of the names of its files.

    Alembic would import each of the files, and a command that only asks would import Alembic.
    """
    files = sorted((folder_of("migrations") / branch).glob("[0-9]*.py"), reverse=True)
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


def _summary(missing: Sequence[tuple[str, str]]) -> str:
    """Tables of which nothing is readable by name, other columns one by one."""
    tables = [table for table, _ in missing]
    whole = {table for table in tables if tables.count(table) == len(SOURCE_COLUMNS[table])}
    names = (table if table in whole else f"{table}.{column}" for table, column in missing)
    return ", ".join(dict.fromkeys(names))
