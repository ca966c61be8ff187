"""What a run does not believe of an organization: that it lost so many rows at once."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.errors import DeletesNotAccepted, ExecutionMetricsError, SealedHistoryLost, UnknownTimeZone
from pipelines.extract.request import Extraction
from pipelines.frames import uuids
from pipelines.postgres.connections import Connection
from pipelines.settings import Settings
from pipelines.state.stored_cells import count_rows
from pipelines.subjects.rollup import Period
from pipelines.subjects.subject import Subject

# Losing so many rows at once is more likely a fault of the source than what somebody did.
_SUSPICIOUS_SHARE: Final = 0.1
_SUSPICIOUS_ROWS: Final = 1_000

# A day that begins so long before a moment is over by then, whatever the clocks of its zone did.
_A_WHOLE_DAY: Final = timedelta(hours=26)


def suspicious(lost: Mapping[UUID, int], counted: Mapping[UUID, int]) -> dict[UUID, int]:
    """The organizations that would lose too many of the rows that are counted, and how many."""
    return {
        key: rows
        for key, rows in lost.items()
        if rows >= _SUSPICIOUS_ROWS and rows > _SUSPICIOUS_SHARE * counted.get(key, 0)
    }


def find_guarded(
    analytics: Connection, settings: Settings, extraction: Extraction, rows: pl.LazyFrame
) -> dict[UUID, ExecutionMetricsError]:
    """The organizations that must not be published with these rows, and why."""
    guarded: dict[UUID, ExecutionMetricsError] = {}
    if not extraction.request.accept_deletes:
        mine = extraction.seen.keys() & set(extraction.organization_ids)
        anew = [key for key in mine if not extraction.seen[key].knows(extraction.facts)]
        if anew and extraction.sealed_before:
            guarded |= _lost_since(analytics, extraction.subject, rows, anew, extraction.sealed_before)
        elif anew:
            guarded |= _lost(analytics, extraction, rows, anew, settings.sealed_before_at)
    guarded |= dict.fromkeys(extraction.guarded, DeletesNotAccepted())
    return guarded | dict.fromkeys(extraction.unknown_zones, UnknownTimeZone())


def _lost(
    connection: Connection,
    extraction: Extraction,
    rows: pl.LazyFrame,
    organization_ids: Collection[UUID],
    sealed_before: datetime | None,
) -> dict[UUID, ExecutionMetricsError]:
    """Published cells count rows that are neither in facts read anew nor, therefore, in the source.

    `rows` are those that count now. Sealed history is lost with the first row, anything else when the rows
    are suspiciously many.
    """
    subject, calendar = extraction.subject, extraction.calendar.calendar
    published, there = count_rows(connection, subject), counts(rows)
    lost = {key: published.get(key, 0) - there.get(key, 0) for key in organization_ids}
    guarded: dict[UUID, ExecutionMetricsError] = dict.fromkeys(
        suspicious(lost, published), DeletesNotAccepted()
    )
    if sealed_before:
        over = sealed_before - _A_WHOLE_DAY
        sealed, there = count_rows(connection, subject, before=over), counts(_before(rows, calendar, over))
        gone = [key for key in organization_ids if sealed.get(key, 0) > there.get(key, 0)]
        guarded |= dict.fromkeys(gone, SealedHistoryLost())
    return guarded


def _lost_since(
    connection: Connection,
    subject: Subject,
    rows: pl.LazyFrame,
    organization_ids: Collection[UUID],
    sealed_before: datetime,
) -> dict[UUID, ExecutionMetricsError]:
    """The same of a subject whose sealed cells are kept: only what ended since then can be lost."""
    after = sealed_before + _A_WHOLE_DAY
    published, sealed = count_rows(connection, subject), count_rows(connection, subject, before=after)
    there = counts(rows.filter(pl.col("completed_at") >= sealed_before - _A_WHOLE_DAY))
    lost = {key: published.get(key, 0) - sealed.get(key, 0) - there.get(key, 0) for key in organization_ids}
    return dict.fromkeys(suspicious(lost, published), DeletesNotAccepted())


def _before(rows: pl.LazyFrame, calendar: Calendar, moment: datetime) -> pl.LazyFrame:
    return rows.filter(calendar.period_start(Period.DAY) < moment)


def counts(rows: pl.LazyFrame) -> dict[UUID, int]:
    """How many rows there are of each organization."""
    counted = rows.group_by("organization_id").len("rows").collect()
    return dict(zip(uuids(counted["organization_id"]), counted["rows"], strict=True))
