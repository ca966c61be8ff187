"""Extracted rows on their way to the facts: they are kept apart so that the source's snapshot can end."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl

from pipelines.subjects.subject import Fact

# A killed run leaves its spool behind, and none takes longer than a day.
_ABANDONED_AFTER_S: Final = 86_400

# What one merge holds in memory at a time, and what is kept off the disk altogether.
CHUNK_ROWS: Final = 100_000


@contextmanager
def temporary_spool(home: Path, fact: Fact) -> Iterator["Spool"]:
    """Yield an empty spool; a folder below `home` that it comes to need goes with it."""
    for abandoned in home.glob("spool-*"):
        if time.time() - abandoned.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(abandoned, ignore_errors=True)
    spool = Spool(home, fact)
    try:
        yield spool
    finally:
        if spool.folder:
            shutil.rmtree(spool.folder, ignore_errors=True)


class Spool:
    """Rows in, in any order; all of them out, or in chunks of some 100,000 rows by partition column."""

    def __init__(self, home: Path, fact: Fact) -> None:
        self._home, self._fact = home, fact
        self.folder: Path | None = None
        self._held: list[pl.DataFrame] = []
        self._held_rows = 0
        self._files: list[Path] = []
        self.rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows over; a few stay in memory, many go to files in a new folder."""
        self.rows += rows.height
        self._held.append(rows)
        self._held_rows += rows.height
        if self._held_rows > CHUNK_ROWS:
            self._write()

    def chunks(self, order: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield every row once, a chunk in that order, undated ones first; only a very full day is cut.

        A row that was read several times has the same row each time, because it was read in one snapshot.
        """
        if not self.rows:
            return
        rows = self.scan()
        key, day = self._fact.place
        if self.rows <= CHUNK_ROWS:
            yield rows.unique(key).sort(order).collect(engine="in-memory")
            return
        yield rows.filter(pl.col(day).is_null()).unique(key).collect()
        rows = rows.filter(pl.col(day).is_not_null())
        days = rows.group_by(day).len().sort(day).collect()
        chunk = (pl.col("len").cum_sum() - pl.col("len")) // CHUNK_ROWS
        for group in days.with_columns(chunk=chunk).partition_by("chunk", maintain_order=True):
            first, last = group[day].min(), group[day].max()
            pieces = -(-int(group["len"].sum()) // (2 * CHUNK_ROWS))
            for piece in range(pieces):
                mine = pl.col(key).hash() % pieces == piece
                yield (
                    rows.filter(pl.col(day).is_between(first, last), mine).unique(key).sort(order).collect()
                )

    def scan(self) -> pl.LazyFrame:
        """Every row taken over so far."""
        held = [frame.lazy() for frame in self._held]
        written = [pl.scan_parquet(self._files, glob=False, hive_partitioning=False)] if self._files else []
        return pl.concat(written + held)

    def _write(self) -> None:
        if not self.folder:
            self._home.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="spool-", dir=self._home))
        file = self.folder / f"{len(self._files):06}.parquet"
        pl.concat(self._held).write_parquet(file, compression="lz4", row_group_size=16_384)
        self._files.append(file)
        self._held, self._held_rows = [], 0
