"""One transaction that the repositories of executions share."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Final

from pipelines.errors import UnitOfWorkNested
from pipelines.executions.execution_logs import ExecutionLogRepository
from pipelines.executions.repositories import (
    JobRepository,
    RagRulesRepository,
    ScreenshotRepository,
    WorkflowRepository,
)
from pipelines.executions.transactions import AccessLog, asking, commit_once, end
from pipelines.postgres.connections import Connection, connect
from pipelines.query.tenant import Tenant
from pipelines.settings import Settings


class UnitOfWork:
    """What one tenant reads and writes together: all of it is kept by `commit`, or none.

    It belongs to one thread, and is committed once: after that, and after its end, its repositories raise
    `UnitOfWorkEnded`.
    """

    def __init__(
        self, connection: Connection, url: str, settings: Settings, tenant: Tenant, accesses: AccessLog
    ) -> None:
        self._connection, self._url, self._settings = connection, url, settings
        self.jobs: Final = JobRepository(connection, tenant, accesses, settings)
        self.logs: Final = ExecutionLogRepository(connection, tenant, accesses, settings)
        self.rag_rules: Final = RagRulesRepository(connection, tenant, accesses, settings)
        self.screenshots: Final = ScreenshotRepository(connection, tenant, accesses, settings)
        self.workflows: Final = WorkflowRepository(connection, tenant, accesses, settings)

    @property
    def ended(self) -> bool:
        """Whether it was committed or has ended otherwise."""
        return self._connection.closed

    def commit(self) -> None:
        """Keep what was written. Raises `UnitOfWorkEnded`, `CommitUnknown` and `DatabaseUnreachable`."""
        with asking(self._connection):
            commit_once(self._connection, self._url, self._settings)
            self._connection.close()


_OPEN: Final[ContextVar[UnitOfWork | None]] = ContextVar("open unit of work", default=None)


@contextmanager
def unit_of_work(
    url: str, settings: Settings, tenant: Tenant, *, accessed_by: str, purpose: str
) -> Iterator[UnitOfWork]:
    """Yield a transaction that is rolled back at the end unless it was committed.

    `accessed_by` and `purpose` are what phi_access_log says of whatever is read. Raises `UnitOfWorkNested`,
    `AccessUnexplained` and what `connect` raises.
    """
    around = _OPEN.get()
    if around and not around.ended:
        raise UnitOfWorkNested
    opened = partial(connect, url, settings, autocommit=True)
    accesses = AccessLog(opened, tenant, accessed_by=accessed_by, purpose=purpose)
    with closing(accesses), connect(url, settings) as connection:
        work = UnitOfWork(connection, url, settings, tenant, accesses)
        token = _OPEN.set(work)
        try:
            yield work
        finally:
            _OPEN.reset(token)
            end(connection)
