"""Keeping `execution_metadata` equal to its sources: sync what changed, find what drifted, repair it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar
from uuid import UUID

from pipelines.executions import metadata as stored
from pipelines.executions.metadata import OrganizationDrift, SyncReport
from pipelines.postgres.connections import Connection, Run, connect

T = TypeVar("T")


@dataclass(frozen=True)
class DriftReport:
    """How many rows were compared, how many wait for the next sync instead, and who has drifted."""

    organizations: int
    rows_compared: int
    rows_pending: int
    drifted: tuple[OrganizationDrift, ...]
    left_alone: str | None = None


@dataclass(frozen=True)
class ReconcileReport:
    """What had drifted, and what was written to repair it and to copy what was pending."""

    found: DriftReport
    sync: SyncReport


def sync_metadata(run: Run, *, organization_ids: Sequence[UUID] = (), full: bool = False) -> SyncReport:
    """Copy jobs that were written since the last sync, or whose workflow or client was; `full`, all of them.

    No `organization_ids` means every organization. A full sync also undoes what somebody wrote into the
    copy by hand, which no other sync sees. Raises `UnknownOrganization`, `AnotherRunHoldsTheLock`,
    `StatementTimedOut`, `StatementCancelled`.
    """

    def work(connection: Connection, batch: Sequence[UUID]) -> SyncReport:
        with stored.syncing(connection, run.settings):
            return stored.write_changes(connection, batch, full=full)

    left_alone, done = _in_batches(run, organization_ids, work)
    return sum(done, SyncReport(left_alone=left_alone))


def find_drift(run: Run, *, organization_ids: Sequence[UUID] = ()) -> DriftReport:
    """Compare every row with its sources, each organization as of one moment, and write nothing.

    Raises as `sync_metadata` does.
    """

    def work(connection: Connection, batch: Sequence[UUID]) -> list[OrganizationDrift]:
        with stored.reading(connection, run.settings):
            return stored.find_drift(connection, batch)

    left_alone, done = _in_batches(run, organization_ids, work)
    return _drift(chain.from_iterable(done), left_alone)


def reconcile_metadata(run: Run, *, organization_ids: Sequence[UUID] = ()) -> ReconcileReport:
    """A full sync that says what it repaired. Raises as `sync_metadata` does."""

    def work(connection: Connection, batch: Sequence[UUID]) -> tuple[list[OrganizationDrift], SyncReport]:
        with stored.syncing(connection, run.settings):
            found = stored.find_drift(connection, batch)
            return found, stored.write_changes(connection, batch, full=True)

    left_alone, done = _in_batches(run, organization_ids, work)
    found = _drift(chain.from_iterable(found for found, _ in done), left_alone)
    return ReconcileReport(found, sum((synced for _, synced in done), SyncReport(left_alone=left_alone)))


def _in_batches(
    run: Run,
    organization_ids: Sequence[UUID],
    work: Callable[[Connection, Sequence[UUID]], T],
) -> tuple[str | None, list[T]]:
    """Have some organizations worked on at a time, each batch in its own transaction; or say why not."""
    size = run.settings.batch_organizations
    with connect(run.databases.source_url, run.settings, autocommit=True) as connection:
        obstacle = stored.find_obstacle(connection)
        if obstacle:
            return obstacle, []
        scope = stored.find_organizations(connection, organization_ids)
        return None, [work(connection, scope[start : start + size]) for start in range(0, len(scope), size)]


def _drift(found: Iterable[OrganizationDrift], left_alone: str | None) -> DriftReport:
    compared = list(found)
    return DriftReport(
        organizations=len(compared),
        rows_compared=sum(each.rows_compared for each in compared),
        rows_pending=sum(each.rows_pending for each in compared),
        drifted=tuple(each for each in compared if each.rows_drifted),
        left_alone=left_alone,
    )
