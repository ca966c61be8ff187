"""`analytics.aggregate_metrics`: how recomputed cells replace published ones."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import polars as pl
import psycopg

from pipelines.model.metrics import CELL_COLUMNS, COUNT_COLUMNS, FIGURE_COLUMNS, KEY_COLUMNS
from pipelines.storage.statements import statement

# Binary COPY carries no type names: a UUID is its 16 bytes and a time is a whole number of
# microseconds since 2000, so no Python object need be made for either.
_TYPES: Final = (
    ["bytea", "text", "int8", "bytea", "bytea", "text"]
    + ["int8"] * len(COUNT_COLUMNS)
    + ["float8"] * (len(FIGURE_COLUMNS) - len(COUNT_COLUMNS))
    + ["int8"]
)
_POSTGRES_EPOCH_US: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_COPY_ROWS: Final = 50_000


class Publication:
    """The writing half of one publishing transaction; the caller commits."""

    def __init__(self, connection: psycopg.Connection, published_at: datetime) -> None:
        self._connection = connection
        self._computed_us = round(published_at.timestamp() * 1_000_000) - _POSTGRES_EPOCH_US
        self._execute("load/stage.sql")
        self.written = 0
        self.deleted = 0

    def add_first(self, cells: pl.DataFrame) -> None:
        """Write cells of organizations that have none yet: straight into the table."""
        self._copy("load/copy_first.sql", cells)
        self.written += cells.height

    def stage(self, cells: pl.DataFrame) -> None:
        """Put recomputed cells aside until `replace`; one without executions is to be deleted."""
        self._copy("load/copy_staged.sql", cells)

    def replace(self, whole: Sequence[UUID]) -> None:
        """Upsert what was staged, and delete what was emptied; `whole` organizations keep nothing else."""
        # Without statistics PostgreSQL would compare every staged row with every stored one.
        self._connection.execute("ANALYZE staged_cells")
        self.deleted += self._execute("load/delete_emptied_cells.sql")
        if whole:
            self.deleted += self._execute("load/delete_unstaged_cells.sql", {"organization_ids": list(whole)})
        self.written += self._execute("load/upsert_cells.sql")

    def _execute(self, path: str, values: dict[str, object] | None = None) -> int:
        return self._connection.execute(statement(path), values).rowcount

    def _copy(self, path: str, cells: pl.DataFrame) -> None:
        if cells.is_empty():
            return
        with (
            self._connection.cursor() as cursor,
            cursor.copy(statement(path)) as copy,
        ):
            copy.set_types(_TYPES)
            for row in self._rows(cells):
                copy.write_row(row)

    def _rows(self, cells: pl.DataFrame) -> Iterator[tuple[object, ...]]:
        ready = (
            cells.select(*CELL_COLUMNS)
            .sort(*KEY_COLUMNS)
            .with_columns(
                pl.col("period_start").to_physical() - _POSTGRES_EPOCH_US,
                computed_at=pl.lit(self._computed_us, dtype=pl.Int64),
            )
        )
        return ready.iter_rows(buffer_size=_COPY_ROWS)
