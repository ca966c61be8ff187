"""What a run does not believe of an organization: that it lost so many rows at once."""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.errors import DeletesNotAccepted, ExecutionMetricsError, SealedHistoryLost, UnknownTimeZone
from pipelines.extract.request import Extraction
from pipelines.frames import uuids
from pipelines.postgres.connections import Connection
from pipelines.settings import Settings
from pipelines.state.stored_cells import count_rows
from pipelines.subjects.rollup import Period

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
        if anew:
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

    `rows` are those that count now. Of a subject whose sealed cells are kept only what ended since then can
    be lost. Of another one sealed history is lost with the first row, anything else when the rows are
    suspiciously many.
    """
    subject = extraction.subject
    published, kept, counted = count_rows(connection, subject), Counter[UUID](), rows
    if since := extraction.sealed_before:
        kept.update(count_rows(connection, subject, before=since + _A_WHOLE_DAY))
        counted = rows.filter(pl.col("completed_at") >= since - _A_WHOLE_DAY)
    there = counts(counted)
    lost = {key: published.get(key, 0) - kept[key] - there.get(key, 0) for key in organization_ids}
    guarded: dict[UUID, ExecutionMetricsError] = dict.fromkeys(
        suspicious(lost, published), DeletesNotAccepted()
    )
    if sealed_before and not extraction.sealed_before:
        over, begins = sealed_before - _A_WHOLE_DAY, extraction.calendar.calendar.period_start(Period.DAY)
        sealed, there = count_rows(connection, subject, before=over), counts(rows.filter(begins < over))
        gone = [key for key in organization_ids if sealed.get(key, 0) > there.get(key, 0)]
        guarded |= dict.fromkeys(gone, SealedHistoryLost())
    return guarded


def counts(rows: pl.LazyFrame) -> dict[UUID, int]:
    """How many rows there are of each organization."""
    counted = rows.group_by("organization_id").len("rows").collect()
    return dict(zip(uuids(counted["organization_id"]), counted["rows"], strict=True))
