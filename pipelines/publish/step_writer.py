"""`analytics.aggregate_step_metrics`: how recomputed cells replace published ones."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl
import psycopg

from pipelines.fault_points import FaultPoint, passing
from pipelines.postgres.copying import copy_frame
from pipelines.postgres.statements import statement
from pipelines.subjects.periods import Period
from pipelines.subjects.steps import STEP_CELL_COLUMNS, STEP_KEY_COLUMNS

NEVER: Final = "-infinity"


@dataclass(frozen=True)
class StepEdition:
    """What every cell of a publication has in common.

    Cells that begin before `removed_before` are kept no more; those that begin before `sealed_before` lose no
    step, because the source no longer has all of theirs.
    """

    computed_at: datetime
    definition_version: int
    removed_before: Mapping[Period, datetime]
    sealed_before: datetime | None


class StepPublication:
    """The writing half of one publishing transaction; the caller commits.

    `written` and `deleted` count cells.
    """

    def __init__(self, connection: psycopg.Connection, edition: StepEdition) -> None:
        self._connection, self._edition = connection, edition
        self._has_table = False
        self.written = 0
        self.deleted = 0

    def stage(self, cells: pl.DataFrame) -> None:
        """Put recomputed cells aside; one without executions is to be deleted."""
        self._make_table_once()
        for period, removed_before in self._edition.removed_before.items():
            cells = cells.filter(
                (pl.col("period") != period.value) | (pl.col("period_start") >= removed_before)
            )
        if cells.height:
            rows = cells.sort(*STEP_KEY_COLUMNS).select(*STEP_CELL_COLUMNS)
            copy_frame(self._connection, statement("publish/copy_staged_steps"), rows)

    def stage_leftovers(self, organization_ids: Collection[object], periods: Collection[Period]) -> None:
        """Have stored cells of these periods deleted that were not staged although all there are were."""
        self._make_table_once()
        # Without statistics PostgreSQL would compare every staged row with every stored one.
        self._connection.execute("ANALYZE staged_step_cells")
        self._connection.execute(
            statement("publish/stage_leftover_steps"),
            {"organization_ids": list(organization_ids), "periods": sorted(periods)},
        )
        passing(FaultPoint.LEFTOVERS_STAGED)

    def replace(self) -> None:
        """Delete what was emptied, and upsert what was staged."""
        passing(FaultPoint.CELLS_STAGED)
        if not self._has_table:
            return
        self._connection.execute("ANALYZE staged_step_cells")
        values = {
            "computed_at": self._edition.computed_at,
            "definition_version": self._edition.definition_version,
            "sealed_before": self._edition.sealed_before or NEVER,
        }
        self.deleted += self._connection.execute(
            statement("publish/delete_emptied_step_cells"), values
        ).rowcount
        passing(FaultPoint.EMPTIED_CELLS_DELETED)
        self.written += self._connection.execute(statement("publish/upsert_step_cells"), values).rowcount
        passing(FaultPoint.CELLS_UPSERTED)

    def _make_table_once(self) -> None:
        if not self._has_table:
            self._connection.execute(statement("publish/stage_steps"))
            self._has_table = True
