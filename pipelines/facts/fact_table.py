"""Tables of facts: one row per row of the source that counts or once did; written, tidied, and asked."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from math import ceil
from typing import Any, Final
from uuid import UUID

import polars as pl
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from pipelines.errors import FactsConflict, FactsNotReadable, FactsNotWritten, FactsUnusable, FeedLost
from pipelines.facts.change_feed import read_changes, read_commits
from pipelines.facts.delta import (
    FENCED,
    add_columns,
    added_columns,
    created,
    files_of,
    lacking_columns,
    opened,
    rows_of,
)
from pipelines.facts.folder import shown
from pipelines.facts.health import reading_facts
from pipelines.facts.merge import counted_in_place, in_portions, known_columns, needed, portions
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import uuids
from pipelines.postgres.failures import words_of
from pipelines.settings import Settings
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import TOMBSTONE, Fact

# Rows of one organization lie together; small groups let a reader skip the others.
_WRITER: Final = WriterProperties(compression="ZSTD", max_row_group_size=32_768)

# How many facts one merge rewrites at most, a few full days aside: 250 MB and 0.3 s.
_MERGED_FACTS: Final = 250_000

# Reading so many again takes as long as asking twice.
_FEW_FACTS: Final = 50_000

# A file is written before its commit is made, and a merge takes less than that.
_LONGEST_WRITE: Final = timedelta(hours=1)

# The operations of commits that change no row that counts.
_HOUSEKEEPING: Final = frozenset(
    {"CREATE TABLE", "ADD COLUMN", "OPTIMIZE", "DELETE", "VACUUM START", "VACUUM END"}
)


@dataclass(frozen=True)
class Absorbed:
    """How many rows a hand-off made count, changed, and turned into tombstones."""

    inserted: int = 0
    updated: int = 0
    tombstones: int = 0

    def __add__(self, other: "Absorbed") -> "Absorbed":
        return Absorbed(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.tombstones + other.tombstones,
        )


class Facts:
    """One version of the table at a location; `version` counts its commits and `table_id` tells tables apart.

    Writing raises `FactsConflict` when another process wrote since the table was opened, `FactsNotWritten`
    for want of space; reading raises `FactsUnusable` when files are damaged or missing.
    """

    def __init__(self, table: DeltaTable, location: str, fact: Fact = JOBS.fact) -> None:
        self._table, self._location, self._fact = table, location, fact
        self._rows: tuple[int, pl.LazyFrame] | None = None

    @cached_property
    def table_id(self) -> UUID:
        return UUID(str(self._table.metadata().id))

    @property
    def version(self) -> int:
        return int(self._table.version())

    @cached_property
    def complete_since(self) -> int:
        """The first version that has every column; what was read before it is to be read again."""
        if lacking_columns(self._table, self._fact):
            return self.version + 1
        return max(added_columns(self._table).values(), default=0)

    @property
    def rows(self) -> int:
        """How many rows count."""
        return int(self._collect(self.scan().select(pl.len())).item())

    @property
    def empty(self) -> bool:
        """Whether no row was ever kept, or none is left."""
        return not self._table.file_uris()

    def scan(self) -> pl.LazyFrame:
        """The rows that count, without the tombstone; collect them within `reading_facts`."""
        return self._all_rows().filter(pl.col(TOMBSTONE).is_null()).drop(TOMBSTONE)

    def of_days(self, days: pl.DataFrame) -> pl.LazyFrame:
        """The rows that count of these days of organizations (`organization_id` and the partition column)."""
        day = self._fact.partition_column
        asked = pl.col(day).is_in(days[day].unique().implode())
        key = ["organization_id", day]
        return self.scan().filter(asked).join(days.lazy().select(key), on=key, how="semi")

    def rows_by_organization(self) -> dict[UUID, int]:
        """How many rows of each organization count."""
        counted = self._collect(self.scan().group_by("organization_id").len("rows"))
        return dict(zip(uuids(counted["organization_id"]), counted["rows"], strict=True))

    def rows_by_day(self) -> dict[date, int]:
        """How many rows that count have their time on each UTC day that has any; the earliest day first."""
        day = pl.col(self._fact.time).dt.date().alias("day")
        counted = self._collect(self.scan().group_by(day).len("rows").sort("day"))
        return dict(zip(counted["day"], counted["rows"], strict=True))

    def add_columns(self) -> None:
        """Add the columns of this version that a table which an earlier one made does not have yet."""
        if lacking_columns(self._table, self._fact):
            with self._commit():
                add_columns(self._table, self._fact)
            self.__dict__.pop("complete_since", None)

    def fill(self, changes: pl.DataFrame) -> Absorbed:
        """Append the rows that count, none of which may be there yet; `changes` as `absorb` takes them."""
        return self._append(changes.filter(pl.col(TOMBSTONE).is_null()))

    def absorb(self, changes: pl.DataFrame) -> Absorbed:
        """Make the facts say what these rows say, all columns; each key comes once.

        A row that no longer counts stays as a tombstone with the reason. Rows that are there already make no
        version; many rows make several, and a hand-off that was cut off is completed by absorbing again.
        """
        if changes.is_empty():
            return Absorbed()
        changes, files = changes.select(*self._fact.stored_columns), files_of(self._table, self._fact)
        facts = int(files["rows"].sum())
        rows = needed(changes, self._known(changes, few=facts <= _FEW_FACTS), self._fact)
        if rows.is_empty():
            return Absorbed()
        if facts <= _MERGED_FACTS:
            return self._write(rows)
        days = files.group_by(self._fact.partition_column).agg(facts=pl.col("rows").sum())
        return sum(map(self._write, portions(rows, days, _MERGED_FACTS, self._fact)), Absorbed())

    def changes_since(self, version: int) -> Iterator[pl.DataFrame]:
        """Yield the changes of each commit past that version: rows as they were before it and are after it.

        A frame holds whole commits: all columns, `_commit_version` and `_change_type` (insert,
        update_preimage, update_postimage, delete). Raises `FeedLost` when files were removed or damaged.
        """
        return read_changes(self._table, self._fact, version)

    def pending_since(self, version: int) -> datetime | None:
        """When the first commit past that version changed a row, or None when none did.

        A commit that is no longer in the log was made before any time.
        """
        try:
            commits = read_commits(self._table, self._location, version)
        except FeedLost:
            return datetime.min.replace(tzinfo=UTC)
        changed = [commit["timestamp"] for commit in commits if commit["operation"] not in _HOUSEKEEPING]
        return datetime.fromtimestamp(min(changed) / 1000, UTC) if changed else None

    def compact(self) -> int:
        """Merge the small files of each day; return how many were merged."""
        with self._commit():
            merged = self._table.optimize.compact(writer_properties=_WRITER, commit_properties=FENCED)
        return int(merged["numFilesRemoved"])

    def purge_tombstones(self, before: datetime) -> int:
        """Delete tombstones of days on which no row became one since that time; return how many.

        They count nowhere, so no cell changes. A day whose files were rewritten since is left for later.
        """
        files = files_of(self._table, self._fact)
        written = pl.col("modified_ms").filter(pl.col("tombstones") > 0).max()
        days = (
            files.group_by(self._fact.partition_column)
            .agg(facts=pl.col("rows").sum(), written=written)
            .filter(pl.col("written") < before.timestamp() * 1000)
        )
        cut = in_portions(days, _MERGED_FACTS, self._fact).partition_by("portion", maintain_order=True)
        return sum(self._purge(portion[self._fact.partition_column]) for portion in cut)

    def vacuum(self, retention: timedelta) -> int:
        """Remove files that no version younger than that needs, nor its feed; return how many."""
        with self._commit():
            # Only a full one removes files of the change feed, which would pile up otherwise.
            removed = self._table.vacuum(
                retention_hours=ceil((retention + _LONGEST_WRITE) / timedelta(hours=1)),
                enforce_retention_duration=False,
                dry_run=False,
                full=True,
            )
        return len(removed)

    def _purge(self, days: pl.Series) -> int:
        listed = ", ".join(f"'{day}'" for day in days)
        with self._commit():
            purged = self._table.delete(
                f"{TOMBSTONE} IS NOT NULL AND {self._fact.partition_column} IN ({listed})",
                writer_properties=_WRITER,
                commit_properties=FENCED,
            )
        return int(purged["num_deleted_rows"])

    def _known(self, changes: pl.DataFrame, *, few: bool) -> pl.DataFrame:
        """The facts with these keys in any partition, the known columns.

        Most are in the partition that the change names. Only for the others, new or moved, are all
        partitions read: 0.2 s for 5 million rows. A table of few facts is read once.
        """
        key, day = self._fact.place
        known = known_columns(self._fact, added_columns(self._table))
        facts = self._all_rows().select(known)
        keys = changes.lazy().select(key)
        if few:
            return self._collect(facts.join(keys, on=key, how="semi"))
        days = changes[day].unique().implode()
        near = self._collect(facts.filter(pl.col(day).is_in(days)).join(keys, on=key, how="semi"))
        in_place = counted_in_place(near, changes, self._fact)
        others = keys.join(in_place.lazy(), on=key, how="anti").collect()
        if others.is_empty():
            return in_place
        return pl.concat([in_place, self._collect(facts.join(others.lazy(), on=key, how="semi"))])

    def _write(self, rows: pl.DataFrame) -> Absorbed:
        if not rows["known"].any():
            return self._append(rows)
        columns: dict[str, Any] = {name: f"new.{name}" for name in self._fact.stored_columns}
        # A row may be in several partitions, and counts in one of them at most.
        same_row = " AND ".join(f"fact.{name} = new.{name}" for name in self._fact.place)
        leaves, counts = (f"new.{TOMBSTONE} IS {test}" for test in ("NOT NULL", "NULL"))
        with self._commit():
            (
                self._table.merge(
                    rows.select(*self._fact.stored_columns),
                    predicate=same_row,
                    source_alias="new",
                    target_alias="fact",
                    writer_properties=_WRITER,
                    commit_properties=FENCED,
                    # Streamed, it would read every day of the table instead of those that the rows name.
                    streamed_exec=False,
                )
                .when_matched_update({TOMBSTONE: f"new.{TOMBSTONE}"}, predicate=leaves)
                .when_matched_update(columns, predicate=counts)
                .when_not_matched_insert(columns, predicate=counts)
                .execute()
            )
        left, known = rows[TOMBSTONE].is_not_null(), rows["known"]
        return Absorbed(int((~known).sum()), int((known & ~left).sum()), int(left.sum()))

    def _append(self, rows: pl.DataFrame) -> Absorbed:
        if rows.height:
            with self._commit():
                write_deltalake(
                    self._table,
                    rows.select(*self._fact.stored_columns),
                    mode="append",
                    writer_properties=_WRITER,
                    commit_properties=FENCED,
                )
        return Absorbed(inserted=rows.height)

    @contextmanager
    def _commit(self) -> Iterator[None]:
        passing(FaultPoint.BEFORE_FACTS_COMMIT)
        try:
            with reading_facts(self._location, self._fact):
                try:
                    yield
                except CommitFailedError as beaten:
                    raise FactsConflict from beaten
        except (DeltaError, OSError) as failed:
            raise FactsNotWritten(f"({shown(self._location)}: {words_of(failed)})") from failed
        passing(FaultPoint.AFTER_FACTS_COMMIT)

    def _all_rows(self) -> pl.LazyFrame:
        """Every row, tombstones too; what is scanned is listed once for each version."""
        if self._rows is None or self._rows[0] != self.version:
            self._rows = self.version, rows_of(self._table, self._fact)
        return self._rows[1]

    def _collect(self, rows: pl.LazyFrame) -> pl.DataFrame:
        with reading_facts(self._location, self._fact):
            return rows.collect()


def find_first_day(settings: Settings) -> date | None:
    """The UTC day on which the earliest job that counts completed; None where no facts can be read."""
    with suppress(FactsUnusable, FactsNotReadable):
        table = opened(settings.facts_location)
        days = Facts(table, settings.facts_location).rows_by_day() if table else {}
        return min(days, default=None)
    return None


def open_facts(settings: Settings, fact: Fact = JOBS.fact) -> Facts:
    """Open the table, or make an empty one where there is none; raises `FactsUnusable`."""
    location = settings.location_of(fact.table)
    table = opened(location, fact)
    return Facts(created(location, fact) if table is None else table, location, fact)
