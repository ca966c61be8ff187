"""What a table must hold, from rows alone: no SQL, no frames, nothing of the product."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from tests.support.histories.books import Books, Row
from tests.support.oracle import ALL, NO_CLIENT, Cells, Depths, Job, cells_by_hand

RESERVED = {ALL, NO_CLIENT}
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
TOLERANCE = timedelta(days=1)

Key = tuple[Any, ...]


class Anomaly(NamedTuple):
    """A job that is listed, with whom and why."""

    job_id: UUID
    organization_id: UUID
    reason: str
    effect: str


def reported(row: Row) -> bool:
    """Whether a row is either counted or listed as not counted."""
    return row.deleted_at is None and row.status not in ("PENDING", "RUNNING", "CANCELLED")


def counted(books: Books, clocks: Mapping[UUID, datetime]) -> dict[UUID, Row]:
    """The jobs that count, as the contract has it; an organization was last looked at by its clock."""
    return {
        job: row
        for job, row in books.jobs.items()
        if row.organization_id in clocks and reported(row) and not _hindrances(row, books, clocks)
    }


def anomalies(books: Books, clocks: Mapping[UUID, datetime]) -> set[Anomaly]:
    """Everything that has to be listed."""
    found = set()
    for job, row in books.jobs.items():
        if row.organization_id not in clocks or not reported(row):
            continue
        for reason in _hindrances(row, books, clocks):
            found.add(Anomaly(job, row.organization_id, reason, "not_counted"))
        if row.status in ("COMPLETED", "FAILED") and _is_before(row.completed_at, row.started_at):
            found.add(Anomaly(job, row.organization_id, "negative_duration", "not_timed"))
    return found


def cells(jobs: Iterable[Job], zone: str, depths: Depths) -> Cells:
    """The cells of one organization's jobs."""
    return _cells(tuple(sorted(jobs, key=repr)), zone, depths)


@lru_cache(maxsize=2_000)
def _cells(jobs: tuple[Job, ...], zone: str, depths: Depths) -> Cells:
    return cells_by_hand(jobs, {job.organization_id: zone for job in jobs}, depths)


def as_job(row: Row) -> Job:
    """What a figure depends on."""
    return Job(*row[:5], row.started_at, row.completed_at)


def dimensions(key: Key) -> int:
    """By how many dimensions a cell is broken down."""
    return (key[3] != ALL) + (key[4] != ALL) + (key[5] != "all")


def kept(cells_of: Cells, depths: Collection[Depths]) -> Cells:
    """The cells that each of these plans has."""
    most = {period: min(dict(each)[period] for each in depths) for period in dict(next(iter(depths)))}
    return {key: cell for key, cell in cells_of.items() if dimensions(key) <= most[key[1]]}


def _hindrances(row: Row, books: Books, clocks: Mapping[UUID, datetime]) -> set[str]:
    times = (row.created_at, row.started_at, row.completed_at, row.updated_at)
    finished = row.status in ("COMPLETED", "FAILED")
    completed = row.completed_at if isinstance(row.completed_at, datetime) else None
    owners = (("foreign_workflow", books.workflows.get(row.workflow_id)),)
    owners += (("foreign_client", books.clients.get(row.client_id)),)
    wrong = {
        "missing_timestamp": finished and (row.started_at is None or row.completed_at is None),
        "infinite_timestamp": any(time in ("infinity", "-infinity") for time in times),
        "timestamp_out_of_range": any(isinstance(time, str) and "infinity" not in time for time in times)
        or (completed is not None and completed < EARLIEST),
        "future_timestamp": completed is not None and completed > clocks[row.organization_id] + TOLERANCE,
        "reserved_identifier": bool(RESERVED & {row.organization_id, row.workflow_id, row.client_id})
        or row.initiator_type == "all",
        "initiator_type_too_long": len(row.initiator_type or "") > 500,
        "unknown_status": not finished,
    }
    wrong |= {reason: owner not in (None, row.organization_id) for reason, owner in owners}
    return {reason for reason, applies in wrong.items() if applies}


def _is_before(one: Any, other: Any) -> bool:
    return isinstance(one, datetime) and isinstance(other, datetime) and one < other
