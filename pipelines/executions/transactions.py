"""Statements on the tables of executions, and what it means when the database refuses one."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from pipelines.errors import (
    ClientNotVisible,
    CommitUnknown,
    DatabaseUnreachable,
    ExecutionMetricsError,
    ExecutionQueryError,
    JobNotVisible,
    NotPermitted,
    RowRefused,
    SchemaMissing,
    UnitOfWorkEnded,
    WorkflowNotVisible,
)
from pipelines.postgres.connections import Connection, commit, connect
from pipelines.postgres.statements import body, statement
from pipelines.settings import Settings

Row = Mapping[str, Any]

_ASKED_AGAIN_S: Final = 0.05

# What the questions of a group are asked of: a tenant's rows, but for the deleted ones.
_VISIBLE: Final = "visible"

# A composite key names a row of the tenant's own, so whatever it refuses is not the tenant's.
_NOT_VISIBLE: Final = {
    "job_is_of_the_same_organization": JobNotVisible,
    "workflow_is_of_the_same_organization": WorkflowNotVisible,
    "client_is_of_the_same_organization": ClientNotVisible,
}


def rows(connection: Connection, path: str, values: Mapping[str, object]) -> list[Row]:
    """What a statement gives, in the transaction of the connection.

    Raises `RowRefused`, `JobNotVisible`, `WorkflowNotVisible`, `ClientNotVisible`, `ExecutionQueryError`,
    `DatabaseUnreachable`, `NotPermitted`, `SchemaMissing` and `UnitOfWorkEnded`.
    """
    with asking(connection), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(filled(path), values)
        return list(cursor) if cursor.description else []


@contextmanager
def asking(connection: Connection) -> Iterator[None]:
    """Raise what a failure of the database means: its own words may hold values of the row."""
    if connection.closed and not connection.broken:
        raise UnitOfWorkEnded
    try:
        yield
    except psycopg.Error as failed:
        raise _meaning_of(failed, connection) from failed


def commit_once(connection: Connection, url: str, settings: Settings) -> None:
    """Commit; when the answer is lost, ask the server how the transaction ended.

    Raises `CommitUnknown` when nobody can be asked, and `DatabaseUnreachable` when nothing was committed.
    """
    # Not in a transaction that has failed: there COMMIT would roll back, and say nothing of it.
    (transaction,) = (row["id"] for row in rows(connection, "executions/this_transaction", {}))

    def made() -> bool:
        # One that has written nothing has nothing to lose.
        if transaction is None:
            return True
        until = time.monotonic() + settings.connect_timeout.total_seconds()
        with connect(url, settings, autocommit=True) as another:
            values = {"id": transaction}
            while True:
                ((status,),) = another.execute(statement("executions/how_it_ended"), values).fetchall()
                # The server may not have noticed yet that nobody is there any more.
                if status != "in progress" or time.monotonic() > until:
                    break
                time.sleep(_ASKED_AGAIN_S)
        if status not in ("committed", "aborted"):
            raise CommitUnknown
        return bool(status == "committed")

    with asking(connection):
        commit(connection, made=made)


def end(connection: Connection) -> None:
    """Roll back whatever was not committed, and close; a server that is gone has done so itself."""
    with suppress(psycopg.OperationalError):
        connection.rollback()
    connection.close()


def _meaning_of(failed: psycopg.Error, connection: Connection) -> ExecutionMetricsError:
    if connection.broken:
        return DatabaseUnreachable()
    rule = failed.diag.constraint_name or ""
    match failed:
        case psycopg.errors.ForeignKeyViolation():
            for name, error in _NOT_VISIBLE.items():
                if rule.endswith(name):
                    return error()
            return RowRefused(f"({rule})")
        case psycopg.errors.IntegrityError():
            return RowRefused(f"({rule or 'a value is missing'})")
        case psycopg.DataError() | psycopg.errors.StatementTooComplex():
            return RowRefused("(a value cannot be stored in its column)")
        case psycopg.errors.InsufficientPrivilege():
            return NotPermitted()
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return SchemaMissing()
    return ExecutionQueryError()


@cache
def filled(path: str) -> str:
    """The statement, with the rows in place that every question of its group begins with."""
    folder, _, _ = path.rpartition("/")
    text, place = body(path), f"{{{_VISIBLE}}}"
    return text.replace(place, body(f"{folder}/{_VISIBLE}")) if place in text else text
