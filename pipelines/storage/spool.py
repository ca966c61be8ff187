"""Extracted rows on their way to the facts: held aside so that the source's snapshot can end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

# What one merge holds in memory at a time, and what is kept off the disk altogether.
CHUNK_ROWS: Final = 250_000


class Spool:
    """Rows in, chunks of at most some 250,000 rows out, in the order of `created_date`.

    Only a single day with more rows than that makes a larger chunk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[pl.DataFrame] = []
        self._held_rows = 0
        self._files = 0
        self.rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows over; a few stay in memory, many go to files under the folder."""
        self.rows += rows.height
        self._held.append(rows)
        self._held_rows += rows.height
        if self._held_rows > CHUNK_ROWS:
            self._write()

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield every row once, sorted by creation date and organization within a chunk."""
        if not self._files:
            if self._held:
                yield _sorted(pl.concat(self._held))
            return
        self._write()
        scan = pl.scan_parquet(self._folder / "*.parquet")
        days = scan.group_by("created_date").len().sort("created_date").collect()
        chunk = (pl.col("len").cum_sum() - pl.col("len")) // CHUNK_ROWS
        for group in days.with_columns(chunk=chunk).partition_by("chunk", maintain_order=True):
            first, last = group["created_date"].min(), group["created_date"].max()
            yield _sorted(scan.filter(pl.col("created_date").is_between(first, last)).collect())

    def _write(self) -> None:
        if self._held:
            self._folder.mkdir(parents=True, exist_ok=True)
            _sorted(pl.concat(self._held)).write_parquet(
                self._folder / f"{self._files:06}.parquet", compression="lz4", row_group_size=16_384
            )
            self._files += 1
            self._held, self._held_rows = [], 0


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("created_date", "organization_id", "completed_at")
