"""What one pass asks of the source about one subject; rows are spooled for the facts as they stream in."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import LocalRange, between
from pipelines.extract.delete_guard import counts, suspicious
from pipelines.extract.request import Request
from pipelines.facts.fact_table import Facts
from pipelines.facts.merge import checksums, differing_days
from pipelines.facts.spool import Spool
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import of_organizations, prefetch, uuids
from pipelines.postgres.connections import Run
from pipelines.source.rows import Cursor, SourceRowsOf
from pipelines.source.snapshot import SourceSnapshot
from pipelines.subjects.jobs import TombstoneReason
from pipelines.subjects.subject import TOMBSTONE, Subject

Frames = Generator[pl.DataFrame, None, None]


class Reading(ABC):
    """Reads what changed and what is gone; the rows of every subject are read alike."""

    def __init__(
        self, run: Run, request: Request, source: SourceSnapshot, facts: Facts, spool: Spool, subject: Subject
    ) -> None:
        self._run, self._settings, self._request = run, run.settings, request
        self._source, self._facts, self._spool, self._subject = source, facts, spool, subject
        self._key = subject.fact.key
        self.sealed_before: datetime | None = None

    @abstractmethod
    def _read_days(self, days: pl.DataFrame) -> None:
        """Read every row of these days of organizations."""

    @abstractmethod
    def _read_ids(self, ids: Sequence[UUID]) -> None:
        """Read the rows with these ids."""

    @abstractmethod
    def _checksums_there(self, organization_ids: Collection[UUID]) -> pl.DataFrame:
        """Three numbers for each day that is compared, of the rows of the source that count."""

    @abstractmethod
    def _compared(self, rows: pl.LazyFrame, organization_ids: Collection[UUID]) -> pl.LazyFrame:
        """Those of these facts that the comparison covers."""

    @abstractmethod
    def _asked_for(self) -> pl.Expr:
        """Whether a fact of a day that differs is one that the request covers."""

    def _read_what_is_gone(
        self, whole: Collection[UUID], compared: Collection[UUID] | None
    ) -> dict[UUID, int]:
        """Find rows that the source does not have any more; return guarded organizations and how many rows.

        All facts of the `whole` organizations are expected, and those of days that differ of the `compared`.
        """
        expected = [self._facts.scan().filter(of_organizations(whole))] if whole else []
        if compared is not None:
            days = self._differing_days(compared)
            passing(FaultPoint.CHECKSUMS_READ)
            if days.height:
                self._read_days(days)
                expected.append(self._facts.of_days(days).filter(self._asked_for()))
        if not expected:
            return {}
        rows = pl.concat(expected).unique(self._key)
        sealed = self.sealed_before or self._settings.sealed_before_at
        if sealed:
            # They may be gone for good, and by the million.
            rows = rows.filter(pl.col("completed_at") >= sealed)
        missing = self._unread(rows)
        if missing.height:
            self._read_ids(uuids(missing[self._key]))
        gone = self._unread(missing.lazy())
        passing(FaultPoint.GONE_JOBS_FOUND)
        guarded = self._guarded(gone)
        gone = gone.filter(~of_organizations(guarded))
        tombstones = gone.with_columns(pl.lit(TombstoneReason.DELETED.value).alias(TOMBSTONE))
        self._spool.add(tombstones.select(*self._subject.fact.stored_columns))
        return guarded

    def _differing_days(self, organization_ids: Collection[UUID]) -> pl.DataFrame:
        there = self._checksums_there(organization_ids)
        here = self._facts.scan().join(self._spooled_ids(), on=self._key, how="anti")
        rows = here
        if self._spool.rows:
            now = self._spool.scan().filter(pl.col(TOMBSTONE).is_null()).unique(self._key)
            rows = pl.concat([here, now.select(here.collect_schema().names())])
        day = self._subject.fact.partition_column
        return differing_days(there, checksums(self._compared(rows, organization_ids), day), day)

    def _spooled_ids(self) -> pl.LazyFrame:
        if self._spool.rows:
            return self._spool.scan().select(self._key)
        return self._facts.scan().clear().select(self._key)

    def _unread(self, facts: pl.LazyFrame) -> pl.DataFrame:
        return facts.join(self._spooled_ids(), on=self._key, how="anti").collect()

    def _guarded(self, gone: pl.DataFrame) -> dict[UUID, int]:
        if self._request.accept_deletes or gone.is_empty():
            return {}
        return suspicious(counts(gone.lazy()), self._facts.rows_by_organization())


class RowsReading(Reading):
    """Reads the rows of a subject that names its source; whether a row counts is decided there.

    `not_counted` is how many rows were read that may not be counted although they name what is measured.
    """

    def __init__(self, run: Run, request: Request, rows: SourceRowsOf, facts: Facts, spool: Spool) -> None:
        super().__init__(run, request, rows.snapshot, facts, spool, rows.subject)
        self._rows = rows
        self._within = LocalRange()
        self._scope: Sequence[UUID] = ()
        self.not_counted = 0
        self.sealed_before = rows.sealed_before()

    def read(self, cursors: Mapping[UUID, Cursor], within: LocalRange) -> dict[UUID, int]:
        """Read what changed of these organizations, and what is gone; return guarded ones and rows."""
        self._within, self._scope = within, tuple(cursors)
        self._take(self._rows.written(cursors))
        self._take(self._rows.of_changed_jobs(cursors))
        whole = [key for key, cursor in cursors.items() if cursor.horizon is None]
        return self._read_what_is_gone(whole, self._scope if self._request.compares else None)

    def _take(self, frames: Frames) -> None:
        day = self._subject.fact.partition_column
        names = [each.column for each in self._subject.dimensions if each.type == "text"]
        for rows in prefetch(frames, cancel=self._source.cancel):
            passing(FaultPoint.STEPS_STREAMING)
            is_named = pl.all_horizontal(pl.lit(True), (pl.col(names) != "").fill_null(False))
            self.not_counted += rows.filter(is_named & ~pl.col("counts")).height
            edited = pl.lit(TombstoneReason.EDITED.value)
            self._spool.add(
                rows.with_columns(
                    pl.when("counts").then(None).otherwise(edited).alias(TOMBSTONE),
                    pl.col("completed_at").dt.date().alias(day),
                ).select(*self._subject.fact.stored_columns)
            )
            self._run.stages.tell(self._subject.stage("extract"), self._spool.rows)

    def _read_days(self, days: pl.DataFrame) -> None:
        self._take(self._rows.on_days(days))

    def _read_ids(self, ids: Sequence[UUID]) -> None:
        self._take(self._rows.listed(ids))

    def _checksums_there(self, organization_ids: Collection[UUID]) -> pl.DataFrame:
        return self._rows.checksums(list(organization_ids), *self._compared_range())

    def _compared(self, rows: pl.LazyFrame, organization_ids: Collection[UUID]) -> pl.LazyFrame:
        return rows.filter(of_organizations(organization_ids), between(*self._compared_range()))

    def _asked_for(self) -> pl.Expr:
        return self._within.holds()

    def _compared_range(self) -> tuple[datetime | None, datetime | None]:
        since, sealed = self._within.since, self.sealed_before
        if sealed:
            since = max(since, sealed) if since else sealed
        return since, self._within.until
