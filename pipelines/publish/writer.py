"""`analytics.aggregate_metrics`: how recomputed cells replace published ones."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import polars as pl
import psycopg

from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import uuids
from pipelines.postgres.copying import copy_frame
from pipelines.postgres.statements import statement
from pipelines.subjects.measures import CELL_COLUMNS, KEY_COLUMNS
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import Restated

_FIRST: Final = "publish/stage_first"
_STAGED: Final = "publish/stage"

ALWAYS: Final = ("-infinity", "infinity")


@dataclass(frozen=True)
class Edition:
    """What every cell of a publication has in common.

    `open_since` says which bucket of each period was not over when an organization was last published:
    `organization_id, period, period_start`; cells before it are restated. Cells that begin before
    `removed_before` are kept no more.
    """

    run_id: UUID
    computed_at: datetime
    definition_version: int
    open_since: pl.DataFrame
    removed_before: Mapping[Period, datetime] = field(default_factory=dict)


class Publication:
    """The writing half of one publishing transaction; the caller commits.

    `written`, `deleted` and `restated` count cells.
    """

    def __init__(self, connection: psycopg.Connection, edition: Edition) -> None:
        self._connection, self._edition = connection, edition
        self._of_every_cell: Mapping[str, object] = {
            "computed_at": edition.computed_at,
            "definition_version": edition.definition_version,
        }
        self._tables: set[str] = set()
        self.written = 0
        self.deleted = 0
        self.restated = 0

    def add_first(self, cells: pl.DataFrame) -> None:
        """Write cells of organizations that have none yet, so that there is nothing to compare them with."""
        self._make_once(_FIRST)
        if self._copy("publish/copy_first", cells):
            self.written += self._execute("publish/insert_first", self._of_every_cell)
            self._execute("publish/empty_first")

    def stage(self, cells: pl.DataFrame) -> None:
        """Put recomputed cells and their `reason` aside; one without executions is to be deleted."""
        self._make_once(_STAGED)
        self._copy("publish/copy_staged", cells, "reason")

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
        # Without statistics PostgreSQL would compare every staged row with every stored one.
        self._connection.execute("ANALYZE staged_cells")
        self._execute(
            "publish/stage_leftovers",
            {
                "organization_ids": sorted(organization_ids),
                "periods": sorted(periods),
                "since": between[0],
                "until": between[1],
                "reason": reason,
            },
        )
        passing(FaultPoint.LEFTOVERS_STAGED)

    def replace(self) -> None:
        """Upsert what was staged, delete what was emptied, and keep what readers saw before."""
        passing(FaultPoint.CELLS_STAGED)
        if _STAGED not in self._tables:
            return
        self._connection.execute("ANALYZE staged_cells")
        open_since = self._edition.open_since
        self.restated += self._execute(
            "publish/keep_restatements",
            {
                "run_id": self._edition.run_id,
                "organization_ids": uuids(open_since["organization_id"]),
                "periods": open_since["period"].to_list(),
                "open_since": open_since["period_start"].to_list(),
            },
        )
        passing(FaultPoint.RESTATEMENTS_KEPT)
        self.deleted += self._execute("publish/delete_emptied_cells")
        passing(FaultPoint.EMPTIED_CELLS_DELETED)
        self.written += self._execute("publish/upsert_cells", self._of_every_cell)
        passing(FaultPoint.CELLS_UPSERTED)

    def _make_once(self, table: str) -> None:
        """Make a table when it is needed: that takes longer than all else that a quiet hour asks for."""
        if table not in self._tables:
            self._execute(table)
            self._tables.add(table)

    def _execute(self, path: str, values: Mapping[str, object] | None = None) -> int:
        return self._connection.execute(statement(path), values).rowcount

    def _kept(self, cells: pl.DataFrame) -> pl.DataFrame:
        for period, removed_before in self._edition.removed_before.items():
            cells = cells.filter(
                (pl.col("period") != period.value) | (pl.col("period_start") >= removed_before)
            )
        return cells

    def _copy(self, path: str, cells: pl.DataFrame, *more: str) -> int:
        kept = self._kept(cells)
        if kept.is_empty():
            return 0
        rows = kept.lazy().sort(*KEY_COLUMNS).select(*CELL_COLUMNS, *more)
        return copy_frame(self._connection, statement(path), rows.collect(engine="in-memory"))
