"""How computed cells replace the published ones of a subject."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID, uuid4

import polars as pl
import psycopg
from psycopg.rows import class_row

from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import uuids
from pipelines.postgres.connections import Run
from pipelines.postgres.copying import copy_frame
from pipelines.postgres.subject_statements import figures_in, subject_statement
from pipelines.state.stored_cells import find_removed_before
from pipelines.state.time_zones import ReadCalendar
from pipelines.subjects.reasons import Restated
from pipelines.subjects.rollup import Period
from pipelines.subjects.subject import Subject

ALWAYS: Final = ("-infinity", "infinity")

# Where cells wait, of organizations that have none yet and of all others.
_FIRST: Final = "first_cells"
_STAGED: Final = "staged_cells"


@dataclass(frozen=True)
class PublishContext:
    """What every cell of a publication has in common.

    `complete_through` says up to when an organization was published, so that cells of buckets that were over
    by then are restated. Cells that begin before `removed_before` are kept no more; those that begin before
    `sealed_before` lose no row, because the source no longer has all of theirs.
    """

    subject: Subject
    run_id: UUID
    computed_at: datetime
    definition_version: int
    calendar: ReadCalendar
    complete_through: Mapping[UUID, datetime]
    removed_before: Mapping[Period, datetime] = field(default_factory=dict)
    sealed_before: datetime | None = None

    @cached_property
    def open_since(self) -> pl.DataFrame:
        """Which bucket of each period was not over yet: `organization_id, period, period_start`."""
        return self.calendar.open_since(self.complete_through)


class Writer:
    """The writing half of one publishing transaction; the caller commits.

    `written`, `deleted` and `restated` count cells.
    """

    def __init__(self, connection: psycopg.Connection, context: PublishContext) -> None:
        self._connection, self._context = connection, context
        self._tables: set[str] = set()
        self.written = 0
        self.deleted = 0
        self.restated = 0

    def insert(self, cells: pl.DataFrame) -> None:
        """Write cells of organizations that have none yet, so that there is nothing to compare them with.

        The owner of the table copies them into it, at half the price; a role that row-level security keeps
        from that stages them first.
        """
        if self._copies_directly:
            context = self._context
            said = pl.lit(context.computed_at, pl.Datetime("us", "UTC")).alias("computed_at")
            version = pl.lit(context.definition_version, pl.Int32).alias("definition_version")
            self.written += self._copy(cells, "copy_first", said, version)
        elif self._stage(cells, _FIRST):
            self.written += self._execute("insert", _FIRST)
            self._execute("empty", _FIRST)

    def stage(self, cells: pl.DataFrame) -> None:
        """Put computed cells and their `reason` aside; one whose total is 0 is to be deleted."""
        self._stage(cells, _STAGED)

    def stage_leftovers(
        self,
        organization_ids: Collection[UUID],
        reason: Restated,
        *,
        periods: Collection[Period] = tuple(Period),
        between: tuple[str | datetime, str | datetime] = ALWAYS,
    ) -> None:
        """Have stored cells deleted that were not staged although everything there is in the range was."""
        self._make_once(_STAGED)
        self._execute("analyze")
        self._execute(
            "stage_leftovers",
            organization_ids=sorted(organization_ids),
            periods=sorted(periods),
            since=between[0],
            until=between[1],
            reason=reason,
        )
        passing(FaultPoint.LEFTOVERS_STAGED)

    def replace(self) -> None:
        """Upsert what was staged, delete what was emptied, and keep what readers saw before."""
        passing(FaultPoint.CELLS_STAGED)
        if _STAGED not in self._tables:
            return
        self._execute("analyze")
        open_since = self._context.open_since
        self.restated += self._execute(
            "keep_restatements",
            subject=self._context.subject.name,
            run_id=self._context.run_id,
            organization_ids=uuids(open_since["organization_id"]),
            periods=open_since["period"].to_list(),
            open_since=open_since["period_start"].to_list(),
        )
        passing(FaultPoint.RESTATEMENTS_KEPT)
        self.deleted += self._execute("delete_emptied")
        passing(FaultPoint.EMPTIED_CELLS_DELETED)
        self.written += self._execute("upsert")
        passing(FaultPoint.CELLS_UPSERTED)

    def largest_changes(self, *, of_each_organization: int = 5) -> list["CellChange"]:
        """What the staged cells would change most."""
        self._make_once(_STAGED)
        self._execute("analyze")
        text = subject_statement("publish/proposed_changes", self._context.subject)
        with self._connection.cursor(row_factory=class_row(CellChange)) as cursor:
            changes = cursor.execute(text, {"rows": of_each_organization}).fetchall()
        subject = self._context.subject
        return [
            replace(each, old=figures_in(each.old, subject), new=figures_in(each.new, subject))
            for each in changes
        ]

    def _make_once(self, staged: str) -> None:
        """Make a table when it is needed: that takes longer than all else that a quiet hour asks for."""
        if staged not in self._tables:
            self._execute("stage", staged)
            self._tables.add(staged)

    def _execute(self, name: str, staged: str = _STAGED, **values: object) -> int:
        context = self._context
        common = {
            "computed_at": context.computed_at,
            "definition_version": context.definition_version,
            "sealed_before": context.sealed_before or ALWAYS[0],
        }
        text = subject_statement(f"publish/{name}", context.subject, staged)
        return self._connection.execute(text, common | values if "%(" in text else None).rowcount

    @cached_property
    def _copies_directly(self) -> bool:
        text = subject_statement("publish/is_row_security_active", self._context.subject)
        return self._connection.execute(text).fetchone() == (False,)

    def _stage(self, cells: pl.DataFrame, staged: str) -> int:
        self._make_once(staged)
        return self._copy(cells, "copy", pl.col("reason"), staged=staged)

    def _copy(self, cells: pl.DataFrame, name: str, *more: pl.Expr, staged: str = _STAGED) -> int:
        """Copy the cells that are kept, and some columns more, in the order of their keys."""
        subject = self._context.subject
        for period, removed_before in self._context.removed_before.items():
            cells = cells.filter(
                (pl.col("period") != period.value) | (pl.col("period_start") >= removed_before)
            )
        if cells.is_empty():
            return 0
        rows = cells.lazy().sort(*subject.key_columns).select(*subject.cell_columns, *more)
        text = subject_statement(f"publish/{name}", subject, staged)
        return copy_frame(self._connection, text, rows.collect(engine="in-memory"))


@dataclass(frozen=True)
class CellChange:
    """One cell that would change: its dimensions by column, and its figures, None for no cell.

    `cells` counts all cells of the organization that would change.
    """

    organization_id: UUID
    period: str
    period_start: datetime
    cell: Mapping[str, str]
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    cells: int


@contextmanager
def proposing(run: Run, subject: Subject, calendar: ReadCalendar) -> Iterator[Writer]:
    """Yield a writer that nothing is left of afterwards."""
    with run.analytics() as connection:
        removed_before = find_removed_before(connection)
        context = PublishContext(subject, uuid4(), datetime.now(UTC), 0, calendar, {}, removed_before)
        yield Writer(connection, context)
        connection.rollback()
