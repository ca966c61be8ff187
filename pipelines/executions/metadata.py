"""The table `execution_metadata` beside the jobs that it copies: writing it, and how far it has drifted."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from psycopg import errors
from psycopg.rows import class_row

from pipelines.errors import (
    AnotherRunHoldsTheLock,
    StatementCancelled,
    StatementTimedOut,
    UnknownOrganization,
)
from pipelines.executions.transactions import filled
from pipelines.postgres.connections import Connection
from pipelines.postgres.statements import statement
from pipelines.settings import Settings
from pipelines.source.selections import FARTHEST_BEHIND

# Enough to look into what happened, few enough to be read.
_EXAMPLES: Final = 5

# What is copied of each job; `job_id` is the key.
_COPIED: Final = (
    *("job_id", "organization_id", "workflow_id", "workflow_name", "client_id", "client_name"),
    *("initiator_type", "status", "created_at", "started_at", "completed_at", "deleted_at"),
)


@dataclass(frozen=True)
class OrganizationDrift:
    """How many rows of one organization are not what their sources say, and in how many each column differs.

    Rows that were written in the sources since the last sync are pending, and no drift.
    """

    organization_id: UUID
    rows_compared: int
    rows_pending: int
    rows_missing: int
    rows_left_over: int
    rows_differing: int
    columns: Mapping[str, int]
    job_ids: Sequence[UUID]

    @property
    def rows_drifted(self) -> int:
        """All that a full sync would repair."""
        return self.rows_missing + self.rows_left_over + self.rows_differing


@dataclass(frozen=True)
class SyncReport:
    """What a sync wrote; rows that were equal already are not written.

    Of `organizations_waiting` an application had something locked, which the next sync takes. `left_alone`
    says in a sentence why nothing was done, where the source has no such table or it is not ours to write.
    """

    organizations: int = 0
    organizations_waiting: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0
    left_alone: str | None = None

    def __add__(self, other: "SyncReport") -> "SyncReport":
        return SyncReport(
            self.organizations + other.organizations,
            self.organizations_waiting + other.organizations_waiting,
            self.rows_inserted + other.rows_inserted,
            self.rows_updated + other.rows_updated,
            self.rows_deleted + other.rows_deleted,
        )


def find_obstacle(connection: Connection) -> str | None:
    """Why the metadata of this source is none of our business, in a sentence; None when it is."""
    ((is_there, is_ours, is_read_only),) = connection.execute(statement("execution_metadata/standing"))
    if not is_there:
        return "The source has no table execution_metadata of ours, so there is nothing to sync."
    if is_read_only:
        return "The source is a standby, so execution_metadata is synced on its primary."
    if not is_ours:
        return "This role may not write execution_metadata in the source; another role has to sync it."
    return None


def find_organizations(connection: Connection, asked: Sequence[UUID]) -> list[UUID]:
    """Those asked for, or all when none is, in order. Raises `UnknownOrganization`."""
    there = [key for (key,) in connection.execute(statement("execution_metadata/organizations"))]
    unknown = sorted(set(asked).difference(there))
    if unknown:
        raise UnknownOrganization(f"({', '.join(map(str, unknown))})")
    return sorted(set(asked)) or there


@contextmanager
def syncing(connection: Connection, settings: Settings) -> Iterator[None]:
    """Have one transaction in which nobody else syncs.

    Raises `AnotherRunHoldsTheLock`, `StatementTimedOut`, `StatementCancelled`.
    """
    with reading(connection, settings, "READ WRITE"):
        connection.execute(statement("execution_metadata/lock"))
        yield


@contextmanager
def reading(connection: Connection, settings: Settings, mode: str = "READ ONLY") -> Iterator[None]:
    """Have one transaction that waits for nobody, and works on nothing, longer than the settings say.

    It writes nothing unless its mode says so. Raises as `syncing` does.
    """
    longest_s = settings.statement_timeout.total_seconds()
    limits = {"patience": settings.lock_timeout.total_seconds(), "longest": longest_s}
    begun = time.monotonic()
    try:
        with connection.transaction():
            connection.execute(f"SET TRANSACTION {mode}")
            # The limits hold from the next statement on.
            milliseconds = {name: f"{round(seconds * 1000)}ms" for name, seconds in limits.items()}
            connection.execute(statement("execution_metadata/limits"), milliseconds)
            yield
    except errors.LockNotAvailable as busy:
        raise AnotherRunHoldsTheLock from busy
    except errors.QueryCanceled as ended:
        late = time.monotonic() - begun >= longest_s
        raise StatementTimedOut() if late else StatementCancelled() from ended


def write_changes(connection: Connection, organization_ids: Sequence[UUID], *, full: bool) -> SyncReport:
    """Copy what was written since the last sync; `full`, whatever differs, and delete rows without a job."""
    values = {"organization_ids": list(organization_ids), "everything": full, "farthest": FARTHEST_BEHIND}
    deleted = 0
    if full:
        deleted = connection.execute(statement("execution_metadata/delete_left_over"), values).rowcount
    lists = {"of_sources": "s.", "of_copies": "m.", "new_values": "excluded.", "columns": ""}
    places = {place: ", ".join(before + name for name in _COPIED) for place, before in lists.items()}
    ((synced, inserted, updated),) = connection.execute(filled("execution_metadata/sync", **places), values)
    return SyncReport(synced, len(organization_ids) - synced, inserted, updated, deleted)


def find_drift(connection: Connection, organization_ids: Sequence[UUID]) -> list[OrganizationDrift]:
    """Compare every row with its sources, in one statement and so as of one moment."""
    names = [name for name in _COPIED if name != "job_id"]
    differing = [f"CASE WHEN m.{name} IS DISTINCT FROM s.{name} THEN '{name}' END" for name in names]
    asked = filled("execution_metadata/drift", differing=", ".join(differing))
    values = {"organization_ids": list(organization_ids), "farthest": FARTHEST_BEHIND, "examples": _EXAMPLES}
    with connection.cursor(row_factory=class_row(OrganizationDrift)) as cursor:
        return cursor.execute(asked, values).fetchall()
