"""Statements about one tenant's rows in a transaction, the log of accesses, and what a refusal means."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from pipelines.errors import (
    AccessNotLogged,
    AccessUnexplained,
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
from pipelines.postgres.statements import body, render, statement
from pipelines.query.tenant import Tenant
from pipelines.settings import Settings

Row = dict[str, Any]
Places = Mapping[str, str]

# Opens a connection that commits every statement by itself.
Opened = Callable[[], AbstractContextManager[Connection]]

_ASKED_AGAIN_S: Final = 0.05

# A composite key names a row of the tenant's own, so whatever it refuses is not the tenant's.
_NOT_VISIBLE: Final = {
    "job_is_of_the_same_organization": JobNotVisible,
    "workflow_is_of_the_same_organization": WorkflowNotVisible,
    "client_is_of_the_same_organization": ClientNotVisible,
}


class AccessLog:
    """The accesses of one caller to one tenant's rows, for one purpose.

    Each is committed over a connection of its own, so that a unit of work that is rolled back does not lose
    it; the connection is opened by the first access, and one that accesses nothing of the kind needs none.
    """

    def __init__(self, opened: Opened, tenant: Tenant, *, accessed_by: str, purpose: str) -> None:
        if not accessed_by.strip() or not purpose.strip():
            raise AccessUnexplained
        self._opened, self._stack = opened, ExitStack()
        self._connection: Connection | None = None
        self._said: Final = {
            "organization_id": tenant.organization_id,
            "accessed_by": accessed_by,
            "purpose": purpose,
        }

    def record(self, accessed: str, *, job_id: UUID | None = None) -> None:
        """Write one access: the table, and `.column` if it is one. Raises `AccessNotLogged`."""
        try:
            if self._connection is None:
                self._connection = self._stack.enter_context(self._opened())
            values = self._said | {"accessed": accessed, "job_id": job_id}
            rows(self._connection, "executions/record_access", values)
        except ExecutionMetricsError as failed:
            raise AccessNotLogged from failed

    def close(self) -> None:
        """Let the connection go."""
        self._stack.close()


class TenantRepository:
    """Statements in the transaction of a unit of work, each about one tenant's rows."""

    def __init__(
        self, connection: Connection, tenant: Tenant, accesses: AccessLog, settings: Settings
    ) -> None:
        self._connection, self._tenant = connection, tenant
        self._accesses, self._settings = accesses, settings

    def _rows(self, path: str, places: Places | None = None, **values: object) -> list[Row]:
        mine = {"organization_id": self._tenant.organization_id}
        return rows(self._connection, path, values | mine, places)


def rows(
    connection: Connection, path: str, values: Mapping[str, object], places: Places | None = None
) -> list[Row]:
    """What a statement gives, in the transaction of the connection.

    Raises `RowRefused`, `JobNotVisible`, `WorkflowNotVisible`, `ClientNotVisible`, `ExecutionQueryError`,
    `DatabaseUnreachable`, `NotPermitted`, `SchemaMissing` and `UnitOfWorkEnded`.
    """
    with asking(connection), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(filled(path, **(places or {})), values)
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
def filled(path: str, **places: str) -> str:
    """The statement, each `{place}` filled as given, or else with the statement of that name beside it."""
    group, _, _ = path.partition("/")
    others = set(re.findall(r"\{(\w+)\}", body(path))).difference(places)
    return render(path, places | {other: filled(f"{group}/{other}", **places) for other in others})
