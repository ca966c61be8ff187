"""Rows of a subject as one moment of the source shows them: what was asked for, and their checksums."""

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import LocalRange
from pipelines.frames import schema_of
from pipelines.postgres.connections import Run
from pipelines.postgres.schemas import ORCHESTRATION
from pipelines.postgres.session_settings import SessionSettings
from pipelines.postgres.statements import body, fill, render
from pipelines.settings import Settings
from pipelines.source.selections import by_id, on_days
from pipelines.source.snapshot import SourceSnapshot, open_source
from pipelines.subjects.dimensions import RESERVED_IDS
from pipelines.subjects.subject import Subject

Frames = Generator[pl.DataFrame, None, None]


@dataclass(frozen=True)
class Cursor:
    """Where to go on reading one organization: at `horizon`, and past `due_since`; None is the beginning."""

    horizon: int | None
    due_since: datetime | None


class SourceRowsOf:
    """The rows of a subject in a snapshot of the source; `is_readable` says first whether it has any."""

    def __init__(self, snapshot: SourceSnapshot, settings: Settings, subject: Subject) -> None:
        assert subject.source, f"{subject.name} are read otherwise"
        self.snapshot, self.subject, self._settings = snapshot, subject, settings
        self._source = subject.source
        tolerance = settings.future_tolerance
        latest = snapshot.moment.extracted_at + tolerance if tolerance is not None else None
        snapshot.set(
            SessionSettings(
                earliest=settings.earliest_completion_at,
                latest=latest or "infinity",
                reserved_ids=RESERVED_IDS,
            )
        )

    @property
    def is_readable(self) -> bool:
        """Whether there is such a relation, and this role may read what the subject needs of it."""
        return self._relation is not None

    @property
    def identity(self) -> str:
        """Which server, history, database and tables these are."""
        return f"{self.snapshot.moment.identity}/{self._relation}"

    def checkpoint(self) -> str:
        """How far these rows are read when this snapshot was."""
        return self.snapshot.checkpoint(self.identity)

    def cursor(self, checkpoint: str | None, extracted_at: datetime | None) -> Cursor:
        """Where to go on after a checkpoint, and after the time at which it was taken."""
        horizon = self.snapshot.horizon_after(checkpoint, self.identity)
        tolerance = self._settings.future_tolerance
        if extracted_at is None or horizon is None or tolerance is None:
            return Cursor(horizon, None)
        return Cursor(horizon, extracted_at + tolerance)

    def sealed_before(self) -> datetime | None:
        """Until when the source may lack rows, as months were dropped or a setting says; None if never."""
        sealed: list[datetime | None] = [self._settings.sealed_before_at]
        months = self._source.months
        if months and self._oid_of(months, ("month_end", "dropped_at")) is not None:
            text = render("source_rows/dropped_months", {"months": months})
            sealed.append(self.snapshot.rows_of(text)["sealed_before"].item())
        return max((moment for moment in sealed if moment), default=None)

    def written(self, cursors: Mapping[UUID, Cursor]) -> Frames:
        """Yield what was written since the cursors of these organizations, or has come due."""
        return self._rows("written", [self._cursors(cursors)])

    def of_changed_jobs(self, cursors: Mapping[UUID, Cursor]) -> Frames:
        """Yield older rows of jobs that were written since."""
        known = {key: each for key, each in cursors.items() if each.horizon is not None}
        wanted = known and self._source.of_jobs and self._versioned
        return self._rows("of_changed_jobs", [self._cursors(known)] if wanted else [])

    def on_days(self, days: pl.DataFrame) -> Frames:
        """Yield every row of these days of organizations (`organization_id` and the partition column)."""
        return self._rows("on_days", on_days(days, self.subject.fact.partition_column))

    def listed(self, ids: Sequence[UUID]) -> Frames:
        """Yield rows by id, however many; ids of no row are passed over."""
        return self._rows("listed", by_id(ids))

    def checksums(
        self, organization_ids: Sequence[UUID] | None, since: datetime | None, until: datetime | None
    ) -> pl.DataFrame:
        """Three numbers per day for the rows of these organizations, or all, that ended in [since, until)."""
        self.snapshot.set(
            SessionSettings(
                only_listed=organization_ids is not None,
                organization_ids=organization_ids or (),
                rows=LocalRange(since, until),
            )
        )
        day = self.subject.fact.partition_column
        places = {"rows": self._statement("between"), "partition_column": day}
        found = self.snapshot.rows_of(render("source_rows/checksums", places))
        numbers = dict.fromkeys(("rows", "low", "high"), "bigint")
        return found.cast(pl.Schema(schema_of({"organization_id": "uuid", day: "date", **numbers})))

    @property
    def _versioned(self) -> bool:
        """Whether versions tell which rows changed, and those of which jobs."""
        return not self.snapshot.read_whole.keys() & {self._source.relation, "jobs"}

    @cached_property
    def _relation(self) -> int | None:
        return self._oid_of(self._source.relation, (*self._source.columns, "xmin", "tableoid"))

    def _oid_of(self, relation: str, columns: Iterable[str]) -> int | None:
        self.snapshot.set(SessionSettings(relation=f"{ORCHESTRATION}.{relation}", columns=columns))
        oid: int | None = self.snapshot.rows("source_rows/readable")["relation"].item()
        return oid

    def _statement(self, selected: str) -> str:
        named = re.fullmatch(r"\w+/\w+", self._source.statement)
        text = body(self._source.statement) if named else self._source.statement
        places = {"row": "r", "key": self._source.key, "time": self._source.time}
        return fill(text, {"selected": render(f"source_rows/selected_{selected}", places)})

    def _rows(self, selected: str, settings: Iterable[SessionSettings]) -> Frames:
        columns = schema_of({**self.subject.fact.columns, "counts": "boolean"})
        text = self._statement(selected)
        for each in settings:
            self.snapshot.set(each)
            for frame in self.snapshot.stream(text):
                yield frame.select(*columns).cast(pl.Schema(columns))

    def _cursors(self, cursors: Mapping[UUID, Cursor]) -> SessionSettings:
        listed = [
            {
                "organization_id": key,
                "horizon": each.horizon if self._versioned else None,
                "due_since": each.due_since,
            }
            for key, each in cursors.items()
        ]
        return SessionSettings(cursors=listed)


def find_sealed_before(run: Run, subject: Subject) -> datetime | None:
    """Until when the source may lack rows whose cells stay; None if never, and for jobs."""
    if subject.source is None:
        return None
    with open_source(run.databases.source_url, run.settings) as snapshot:
        return SourceRowsOf(snapshot, run.settings, subject).sealed_before()
