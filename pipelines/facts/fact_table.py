"""Delta tables with one row per job, or step, that counts or once did, and the feeds of their changes."""

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
from pipelines.facts.change_feed import commits_past, commits_since
from pipelines.facts.delta import (
    FENCED,
    add_columns,
    added_columns,
    created,
    files_of,
    lacking_columns,
    location_of,
    opened,
    rows_of,
)
from pipelines.facts.file_checksums import Checksums
from pipelines.facts.folder import local_folder, shown
from pipelines.facts.health import reading_facts
from pipelines.facts.merge import counted_at_home, in_portions, known_columns, needed, portions
from pipelines.fault_points import FaultPoint, passing
from pipelines.frames import uuids
from pipelines.postgres.failures import words_of
from pipelines.settings import Settings
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import Fact

# Rows of one organization lie together; small groups let a reader skip the others.
_WRITER: Final = WriterProperties(compression="ZSTD", max_row_group_size=32_768)

# How many facts one merge rewrites at most, a few full days aside: 250 MB and 0.3 s.
_MERGED_FACTS: Final = 250_000

# Reading so many again takes as long as asking twice.
_FEW_FACTS: Final = 50_000

# A file is written before its commit is made, and a merge takes less than that.
_LONGEST_WRITE: Final = timedelta(hours=1)

# What a commit is called that changes no job that counts.
_HOUSEKEEPING: Final = frozenset(
    {"CREATE TABLE", "ADD COLUMN", "OPTIMIZE", "DELETE", "VACUUM START", "VACUUM END"}
)


@dataclass(frozen=True)
class Absorbed:
    """How many jobs a hand-off made count, changed, and made count no longer."""

    inserted: int = 0
    updated: int = 0
    gone: int = 0

    def __add__(self, other: "Absorbed") -> "Absorbed":
        return Absorbed(self.inserted + other.inserted, self.updated + other.updated, self.gone + other.gone)


class Facts:
    """One version of the table at a location; `version` counts its commits and `table_id` tells tables apart.

    Whatever is written raises `FactsConflict` when somebody else wrote since it was opened, `FactsNotWritten`
    for want of space; whatever is read raises `FactsUnusable` when its files are damaged or gone.
    """

    def __init__(self, table: DeltaTable, location: str, fact: Fact = JOBS.fact) -> None:
        self._table, self._location, self._fact = table, location, fact

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
        """How many jobs count."""
        return int(self._collect(self.scan().select(pl.len())).item())

    @property
    def empty(self) -> bool:
        """Whether no job was ever kept, or none is left."""
        return not self._table.file_uris()

    def scan(self) -> pl.LazyFrame:
        """The jobs that count: their columns but `gone`; collect it within `reading_facts`."""
        return rows_of(self._table, self._fact).filter(pl.col("gone").is_null()).drop("gone")

    def of_days(self, days: pl.DataFrame) -> pl.LazyFrame:
        """The jobs that count of these days of organizations (`organization_id` and the home)."""
        home = self._fact.partition_column
        dates = days[home].unique().implode()
        there = ["organization_id", home]
        return (
            self.scan()
            .filter(pl.col(home).is_in(dates))
            .join(days.lazy().select(there), on=there, how="semi")
        )

    def rows_by_organization(self) -> dict[UUID, int]:
        """How many jobs of each organization count."""
        counted = self._collect(self.scan().group_by("organization_id").len("jobs"))
        return dict(zip(uuids(counted["organization_id"]), counted["jobs"], strict=True))

    def rows_by_day(self) -> dict[date, int]:
        """How many jobs that count completed on each UTC day, of days that have any; the earliest first."""
        day = pl.col("completed_at").dt.date().alias("day")
        counted = self._collect(self.scan().group_by(day).len("jobs").sort("day"))
        return dict(zip(counted["day"], counted["jobs"], strict=True))

    def add_columns(self) -> None:
        """Add the columns of this version that a table which an earlier one made does not have yet."""
        if lacking_columns(self._table, self._fact):
            with self._commit():
                add_columns(self._table, self._fact)
            self.__dict__.pop("complete_since", None)

    def fill(self, changes: pl.DataFrame) -> Absorbed:
        """Append the jobs that count, none of which may be there yet; `changes` as `absorb` takes them."""
        return self._append(changes.filter(pl.col("gone").is_null()))

    def absorb(self, changes: pl.DataFrame) -> Absorbed:
        """Make the facts say of these jobs, each of which comes once, what the changes say: all columns.

        A job that no longer counts keeps its row, marked with the reason. What is there already makes no
        version; much takes several, and one cut off between two is made good by absorbing again.
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
        """Yield the rows that each commit past that version wrote, as they were before and after it.

        A frame holds whole commits: all columns, `_commit_version` and `_change_type` (insert,
        update_preimage, update_postimage, delete). Raises `FeedLost` when files were removed or damaged.
        """
        return commits_since(version, self._table, self._location, self._fact)

    def pending_since(self, version: int) -> datetime | None:
        """When the first commit past that version changed a job, or None when none did.

        One that is no longer in the log was made before any time.
        """
        try:
            commits = commits_past(version, self._table, self._location)
        except FeedLost:
            return datetime.min.replace(tzinfo=UTC)
        changed = [commit["timestamp"] for commit in commits if commit["operation"] not in _HOUSEKEEPING]
        return datetime.fromtimestamp(min(changed) / 1000, UTC) if changed else None

    def compact(self) -> int:
        """Merge the small files of each day; return how many were merged."""
        with self._commit():
            merged = self._table.optimize.compact(writer_properties=_WRITER, commit_properties=FENCED)
        return int(merged["numFilesRemoved"])

    def purge_gone(self, before: datetime) -> int:
        """Delete rows of days whose jobs all stopped counting before that; return how many.

        They count nowhere, so no cell changes. A day whose files were rewritten since is left for later.
        """
        files = files_of(self._table, self._fact)
        written = pl.col("modified_ms").filter(pl.col("gone") > 0).max()
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
                f"gone IS NOT NULL AND {self._fact.partition_column} IN ({listed})",
                writer_properties=_WRITER,
                commit_properties=FENCED,
            )
        return int(purged["num_deleted_rows"])

    def _known(self, changes: pl.DataFrame, *, few: bool) -> pl.DataFrame:
        """The facts of these jobs wherever they are, the known columns.

        Most are on their day. Only of others, new or moved, has every day to be asked: 0.2 s for 5 million.
        A table of few facts is read once.
        """
        key, home = self._fact.place
        known = known_columns(self._fact, added_columns(self._table))
        facts = rows_of(self._table, self._fact).select(known)
        ids = changes.lazy().select(key)
        if few:
            return self._collect(facts.join(ids, on=key, how="semi"))
        days = changes[home].unique().implode()
        near = self._collect(facts.filter(pl.col(home).is_in(days)).join(ids, on=key, how="semi"))
        at_home = counted_at_home(near, changes, self._fact)
        strangers = ids.join(at_home.lazy(), on=key, how="anti").collect()
        if strangers.is_empty():
            return at_home
        far = self._collect(facts.join(strangers.lazy(), on=key, how="semi"))
        return pl.concat([at_home, far])

    def _write(self, rows: pl.DataFrame) -> Absorbed:
        if not rows["known"].any():
            return self._append(rows)
        columns: dict[str, Any] = {name: f"job.{name}" for name in self._fact.stored_columns}
        # A day is a home: each row of a job has one, and counts in one of them at most.
        same_row = " AND ".join(f"fact.{name} = job.{name}" for name in self._fact.place)
        with self._commit():
            (
                self._table.merge(
                    rows.select(*self._fact.stored_columns),
                    predicate=same_row,
                    source_alias="job",
                    target_alias="fact",
                    writer_properties=_WRITER,
                    commit_properties=FENCED,
                    # Streamed, it would read every day of the table instead of those that the rows name.
                    streamed_exec=False,
                )
                .when_matched_update({"gone": "job.gone"}, predicate="job.gone IS NOT NULL")
                .when_matched_update(columns, predicate="job.gone IS NULL")
                .when_not_matched_insert(columns, predicate="job.gone IS NULL")
                .execute()
            )
        gone, known = rows["gone"].is_not_null(), rows["known"]
        return Absorbed(int((~known).sum()), int((known & ~gone).sum()), int(gone.sum()))

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
        before = self.version
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
        if folder := local_folder(self._location):
            Checksums(folder).record(since_version=before)

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
    location = location_of(settings, fact)
    table = opened(location, fact)
    return Facts(created(location, fact) if table is None else table, location, fact)
