"""What a run does not believe of an organization: that it lost so many jobs at once."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.errors import DeletesNotAccepted, ExecutionMetricsError, SealedHistoryLost
from pipelines.frames import uuids
from pipelines.postgres.connections import Connection
from pipelines.state.stored_cells import count_jobs
from pipelines.subjects.periods import Period

# Losing so many jobs at once is more likely a fault of the source than what somebody did.
_SUSPICIOUS_SHARE: Final = 0.1
_SUSPICIOUS_JOBS: Final = 1_000

# A day that begins so long before a moment is over by then, whatever the clocks of its zone did.
_A_WHOLE_DAY: Final = timedelta(hours=26)


def suspicious(lost: Mapping[UUID, int], counted: Mapping[UUID, int]) -> dict[UUID, int]:
    """Who would lose too many of the jobs that are counted, and how many."""
    return {
        key: jobs
        for key, jobs in lost.items()
        if jobs >= _SUSPICIOUS_JOBS and jobs > _SUSPICIOUS_SHARE * counted.get(key, 0)
    }


def lost_with_facts(
    connection: Connection,
    jobs: pl.LazyFrame,
    organization_ids: Collection[UUID],
    calendar: Calendar,
    sealed_before: datetime | None,
) -> dict[UUID, ExecutionMetricsError]:
    """Whose published cells count jobs that are neither in facts read anew nor, therefore, in the source.

    `jobs` are those that count now. Sealed history is lost with the first job, anything else when they are
    suspiciously many.
    """
    if not organization_ids:
        return {}
    published, there = count_jobs(connection), counts(jobs)
    lost = {key: published.get(key, 0) - there.get(key, 0) for key in organization_ids}
    withheld: dict[UUID, ExecutionMetricsError] = dict.fromkeys(
        suspicious(lost, published), DeletesNotAccepted()
    )
    if sealed_before:
        over = sealed_before - _A_WHOLE_DAY
        sealed = count_jobs(connection, before=over)
        there = counts(jobs.filter(calendar.period_start(Period.DAY) < over))
        gone = [key for key in organization_ids if sealed.get(key, 0) > there.get(key, 0)]
        withheld |= dict.fromkeys(gone, SealedHistoryLost())
    return withheld


def counts(jobs: pl.LazyFrame) -> dict[UUID, int]:
    """How many jobs there are of each organization."""
    counted = jobs.group_by("organization_id").len("jobs").collect()
    return dict(zip(uuids(counted["organization_id"]), counted["jobs"], strict=True))
