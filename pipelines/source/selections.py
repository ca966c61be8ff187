"""What may be asked of the source's jobs: which of them, in one statement for all organizations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Final
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
class Swept:
    """Jobs written at or past their organization's horizon; every job where that is None.

    Organizations that are not listed are read whole, or not at all when `only_listed`.
    """

    horizons: Mapping[UUID, int | None]
    only_listed: bool = False

    fragment: ClassVar[str] = "source_jobs/selected_swept"

    def within_reach_of(self, horizon: int) -> "Swept":
        """The same; organizations too far behind to tell what changed since are read whole."""
        reached = {
            key: value if value is not None and horizon - value < FARTHEST_BEHIND else None
            for key, value in self.horizons.items()
        }
        return replace(self, horizons=reached)

    def settings(self) -> Iterator[SessionSettings]:
        """Yield what one statement takes."""
        cursors = [{"organization_id": key, "horizon": value} for key, value in self.horizons.items()]
        yield SessionSettings(cursors=cursors, only_listed=self.only_listed)


@dataclass(frozen=True)
class Indexed:
    """Jobs updated at or past their organization's moment, by an index on `updated_at`.

    Organizations that are not listed have the earliest moment of all, or are left out when `only_listed`.
    """

    since: Mapping[UUID, datetime]
    only_listed: bool = False

    fragment: ClassVar[str] = "source_jobs/selected_indexed"

    def settings(self) -> Iterator[SessionSettings]:
        """Yield what one statement takes."""
        moments = [{"organization_id": key, "since": at} for key, at in self.since.items()]
        yield SessionSettings(moments=moments, only_listed=self.only_listed)


@dataclass(frozen=True)
class CreatedOn:
    """Every job of some organizations' UTC days: a frame of `organization_id` and `created_date`."""

    days: pl.DataFrame

    fragment: ClassVar[str] = "source_jobs/selected_created_on"

    def settings(self) -> Iterator[SessionSettings]:
        """Yield what one statement takes, unless no day is asked for."""
        if not self.days.is_empty():
            yield SessionSettings(
                organization_ids=uuids(self.days["organization_id"]), days=self.days["created_date"]
            )


@dataclass(frozen=True)
class Listed:
    """Jobs by id, however many; ids of no job are passed over."""

    job_ids: Sequence[UUID]

    fragment: ClassVar[str] = "source_jobs/selected_listed"

    def settings(self) -> Iterator[SessionSettings]:
        """Yield what each statement takes, for ten thousand ids at a time."""
        ids = list(dict.fromkeys(self.job_ids))
        for start in range(0, len(ids), IDS_AT_A_TIME):
            yield SessionSettings(ids=ids[start : start + IDS_AT_A_TIME])


@dataclass(frozen=True)
class OfOwners:
    """Jobs of these workflows or of these clients, whichever organizations all of them belong to."""

    workflow_ids: Sequence[UUID] = ()
    client_ids: Sequence[UUID] = ()

    fragment: ClassVar[str] = "source_jobs/selected_of_owners"

    def settings(self) -> Iterator[SessionSettings]:
        """Yield what one statement takes, unless no owner is named."""
        if self.workflow_ids or self.client_ids:
            yield SessionSettings(workflow_ids=self.workflow_ids, client_ids=self.client_ids)


Asked = Swept | Indexed | CreatedOn | Listed | OfOwners
