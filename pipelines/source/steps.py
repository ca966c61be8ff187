"""The steps in the source's logs as one moment shows them: what was asked for, and their digest."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import polars as pl

from pipelines.calendars.local_ranges import bounds
from pipelines.frames import uuids
from pipelines.postgres.schemas import STEP_SOURCE_COLUMNS
from pipelines.postgres.statements import body, statement
from pipelines.settings import Settings
from pipelines.source.selections import array_of, scope
from pipelines.source.snapshot import SourceSnapshot
from pipelines.subjects.dimensions import RESERVED_IDS
from pipelines.subjects.steps import STEP_FACT_COLUMNS

# As the source gives it: `counts` says whether it belongs in the facts.
EXTRACTED_STEP_COLUMNS: Final[dict[str, pl.DataType]] = STEP_FACT_COLUMNS | {"counts": pl.Boolean()}

_DIGEST_COLUMNS: Final[dict[str, pl.DataType]] = {
    "organization_id": pl.Binary(),
    "completed_date": pl.Date(),
    "jobs": pl.Int64(),
    "low": pl.Int64(),
    "high": pl.Int64(),
}

# So many ids the server finds by its index in a fraction of a second.
_IDS_AT_A_TIME: Final = 10_000

Frames = Generator[pl.DataFrame, None, None]


@dataclass(frozen=True)
class Cursor:
    """Where to go on reading one organization: at `horizon`, and past `due_since`; None is the beginning."""

    horizon: int | None
    due_since: datetime | None


class StepSource:
    """The steps of a snapshot of the source, which says first whether it has any."""

    def __init__(self, source: SourceSnapshot, settings: Settings) -> None:
        self._source, self._settings, tolerance = source, settings, settings.future_tolerance
        latest = source.moment.extracted_at + tolerance if tolerance is not None else None
        source.set(
            {
                "execmetrics.step_columns": array_of(STEP_SOURCE_COLUMNS["execution_logs"]),
                "execmetrics.earliest": settings.earliest_completion_at.isoformat(),
                "execmetrics.latest": latest.isoformat() if latest else "infinity",
                "execmetrics.reserved_ids": array_of(RESERVED_IDS),
            }
        )

    @property
    def has_steps(self) -> bool:
        """Whether there is a table of logs, and this role may read what steps need of it."""
        return self._table is not None

    @property
    def incarnation(self) -> str:
        """Which server, history, database and tables these are."""
        return f"{self._source.moment.incarnation}/{self._table}"

    def sealed_before(self) -> datetime | None:
        """Until when the source may lack steps, as months were dropped or a setting says; None if never."""
        dropped: list[datetime | None] = [self._settings.sealed_before_at]
        if self._source.rows("source_steps/has_months")["has_months"].item():
            dropped.append(self._source.rows("source_steps/dropped_months")["sealed_before"].item())
        return max((moment for moment in dropped if moment), default=None)

    def written(self, cursors: Mapping[UUID, Cursor]) -> Frames:
        """Yield what was written since the cursors of these organizations, or has come due."""
        return self._steps("written", [self._cursors(cursors)])

    def of_changed_jobs(self, cursors: Mapping[UUID, Cursor]) -> Frames:
        """Yield older lines of jobs that were written since."""
        known = {key: each for key, each in cursors.items() if each.horizon is not None}
        return self._steps("of_changed_jobs", [self._cursors(known)] if known and self._versioned else [])

    def ended_on(self, days: pl.DataFrame) -> Frames:
        """Yield every line of these days of organizations (`organization_id, completed_date`)."""
        asked = {
            "execmetrics.organization_ids": array_of(uuids(days["organization_id"])),
            "execmetrics.days": array_of(days["completed_date"]),
        }
        return self._steps("ended_on", [asked] if days.height else [])

    def listed(self, log_ids: Sequence[UUID]) -> Frames:
        """Yield lines by id, however many; ids of no line are passed over."""
        parts = (log_ids[start : start + _IDS_AT_A_TIME] for start in range(0, len(log_ids), _IDS_AT_A_TIME))
        return self._steps("listed", ({"execmetrics.log_ids": array_of(part)} for part in parts))

    def digest(
        self, organization_ids: Sequence[UUID] | None, since: datetime | None, until: datetime | None
    ) -> pl.DataFrame:
        """Count and add up the steps of these organizations, or of all, that ended in [since, until)."""
        self._source.set(
            {
                "execmetrics.scope": scope(organization_ids is not None),
                "execmetrics.organization_ids": array_of(organization_ids or ()),
            }
            | bounds("execmetrics.steps", (since, until))
        )
        return self._source.rows_of(_filled("source_steps/step_digest")).cast(pl.Schema(_DIGEST_COLUMNS))

    @property
    def _versioned(self) -> bool:
        """Whether versions tell which lines changed, and those of which jobs."""
        return not self._source.read_whole.keys() & {"execution_logs", "jobs"}

    @cached_property
    def _table(self) -> int | None:
        table: int | None = self._source.rows("source_steps/step_source")["log_table"].item()
        return table

    def _steps(self, asked: str, settings: Iterator[dict[str, str]] | list[dict[str, str]]) -> Frames:
        text = _filled("source_steps/steps").replace("{asked}", body(f"source_steps/selected_{asked}"))
        for each in settings:
            self._source.set(each)
            for frame in self._source.stream(text):
                yield frame.select(*EXTRACTED_STEP_COLUMNS).cast(pl.Schema(EXTRACTED_STEP_COLUMNS))

    def _cursors(self, cursors: Mapping[UUID, Cursor]) -> dict[str, str]:
        listed: list[dict[str, Any]] = [
            {
                "organization_id": str(key),
                "horizon": each.horizon if self._versioned else None,
                "due_since": each.due_since.isoformat() if each.due_since else None,
            }
            for key, each in cursors.items()
        ]
        return {"execmetrics.cursors": json.dumps(listed)}


def _filled(path: str) -> str:
    return (
        statement(path)
        .replace("{row_hash}", body("source_steps/step_hash"))
        .replace("{counts}", body("source_steps/step_counts"))
    )
