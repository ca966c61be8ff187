"""What may be asked of the source's jobs: which of them, in one statement for all organizations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.frames import uuids
from pipelines.postgres.session_settings import SessionSettings

# So many ids the server finds by its index in a fraction of a second.
IDS_AT_A_TIME: Final = 10_000

# Rows carry 32 bits of their transaction's id, which tell before from after within half of their circle;
# half of that leaves room for the transactions that are under way.
FARTHEST_BEHIND: Final = 2**30


@dataclass(frozen=True)
class Asked:
    """Jobs to read: `fragment` names the end of the statement, which runs once for each of the `settings`."""

    fragment: str
    settings: Sequence[SessionSettings]


@dataclass(frozen=True)
class Swept:
    """Jobs written at or past their organization's horizon; every job where that is None.

    Organizations that are not listed are read whole, or not at all when `only_listed`.
    """

    horizons: Mapping[UUID, int | None]
    only_listed: bool = False

    fragment: Final = "source_jobs/selected_swept"

    @property
    def settings(self) -> Sequence[SessionSettings]:
        """What one statement takes."""
        cursors = [{"organization_id": key, "horizon": value} for key, value in self.horizons.items()]
        return [SessionSettings(cursors=cursors, only_listed=self.only_listed)]


def indexed(since: Mapping[UUID, datetime], *, only_listed: bool = False) -> Asked:
    """Jobs updated at or past their organization's moment, by an index on `updated_at`.

    Organizations that are not listed have the earliest moment of all, or are left out when `only_listed`.
    """
    moments = [{"organization_id": key, "since": at} for key, at in since.items()]
    return Asked("source_jobs/selected_indexed", [SessionSettings(moments=moments, only_listed=only_listed)])


def created_on(days: pl.DataFrame) -> Asked:
    """Every job of some organizations' UTC days: a frame of `organization_id` and `created_date`."""
    return Asked("source_rows/selected_on_days", on_days(days, "created_date"))


def listed(job_ids: Iterable[UUID]) -> Asked:
    """Jobs by id, however many; ids of no job are passed over."""
    return Asked("source_rows/selected_listed", by_id(job_ids))


def of_owners(workflow_ids: Sequence[UUID] = (), client_ids: Sequence[UUID] = ()) -> Asked:
    """Jobs of these workflows or of these clients, whichever organizations all of them belong to."""
    settings = [SessionSettings(workflow_ids=workflow_ids, client_ids=client_ids)]
    return Asked("source_jobs/selected_of_owners", settings if workflow_ids or client_ids else [])


def on_days(days: pl.DataFrame, day: str) -> Sequence[SessionSettings]:
    """What `selected_on_days` takes for days of organizations (`organization_id, day`); nothing for none."""
    if days.is_empty():
        return []
    return [SessionSettings(organization_ids=uuids(days["organization_id"]), days=days[day])]


def by_id(ids: Iterable[UUID]) -> Sequence[SessionSettings]:
    """What `selected_listed` takes each time, for ten thousand different ids at a time."""
    some = list(dict.fromkeys(ids))
    starts = range(0, len(some), IDS_AT_A_TIME)
    return [SessionSettings(ids=some[start : start + IDS_AT_A_TIME]) for start in starts]
