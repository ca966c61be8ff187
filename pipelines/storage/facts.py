"""`job_facts`: a Delta table with one row per finished job, and the feed of what changed in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote
from uuid import UUID

import polars as pl
from arro3.core import Table
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipelines.errors import FactsUnusable, FeedLost
from pipelines.model.jobs import FACT_COLUMNS
from pipelines.settings import Settings
from pipelines.storage.frames import uuids

STORED_COLUMNS: Final[dict[str, pl.DataType]] = FACT_COLUMNS | {"created_date": pl.Date()}

# A job's creation never changes, so it has one home however often it is retried.
_SAME_JOB: Final = "fact.job_id = job.job_id AND fact.created_date = job.created_date"

# Rows of one organization lie together; small groups let a reader skip the others.
_WRITER: Final = WriterProperties(compression="ZSTD", max_row_group_size=32_768)


# How many facts one merge rewrites at most, a few full days aside.
_MERGED_FACTS: Final = 1_000_000

# What a reader that opened an old version may still be reading; Delta Lake's own default.
_RETENTION_HOURS: Final = 7 * 24


@dataclass(frozen=True)
class Absorbed:
    """How many facts a hand-off touched."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def __add__(self, other: "Absorbed") -> "Absorbed":
        return Absorbed(
            self.inserted + other.inserted, self.updated + other.updated, self.deleted + other.deleted
        )


class JobFacts:
    """The table at one location; `version` counts its commits and `table_id` tells folders apart."""

    def __init__(self, table: DeltaTable) -> None:
        self._table = table

    @property
    def table_id(self) -> UUID:
        return UUID(str(self._table.metadata().id))

    @property
    def version(self) -> int:
        return int(self._table.version())

    @property
    def rows(self) -> int:
        """How many facts there are."""
        return int(self.scan().select(pl.len()).collect().item())

    def jobs_by_organization(self) -> dict[UUID, int]:
        """How many facts each organization has."""
        counted = self.scan().group_by("organization_id").len("jobs").collect()
        return dict(zip(uuids(counted["organization_id"]), counted["jobs"], strict=True))

    def compact(self) -> int:
        """Merge the small files of each day; return how many were merged."""
        return int(self._table.optimize.compact(writer_properties=_WRITER)["numFilesRemoved"])

    def vacuum(self) -> int:
        """Remove files that no version of the last week needs; return how many."""
        # Only a full one removes files of the change feed, which would pile up otherwise.
        return len(self._table.vacuum(retention_hours=_RETENTION_HOURS, dry_run=False, full=True))

    @property
    def empty(self) -> bool:
        """Whether no fact was ever kept, or none is left."""
        return not self._table.file_uris()

    def fill(self, changes: pl.DataFrame) -> Absorbed:
        """Append rows of jobs that are not there yet; `changes` as `absorb` takes them."""
        rows = changes.filter("counts").select(*STORED_COLUMNS)
        if rows.height:
            write_deltalake(self._table, rows, mode="append", writer_properties=_WRITER)
            self._table.update_incremental()
        return Absorbed(inserted=rows.height)

    def absorb(self, changes: pl.DataFrame) -> Absorbed:
        """Merge rows by job: delete those that no longer count, update those that differ, insert new ones.

        Rows that are already there make no new version, so reading them twice is harmless.
        """
        if changes.is_empty():
            return Absorbed()
        moved = self._moved(changes)
        if moved.height:
            changes = pl.concat([changes, moved.with_columns(counts=False)], how="diagonal")
        return sum(map(self._merge, self._portions(changes)), Absorbed())

    def _portions(self, changes: pl.DataFrame) -> list[pl.DataFrame]:
        """Cut changes by days that hold about so many facts together: a merge rewrites and holds them."""
        files = pl.DataFrame(self._table.get_add_actions(flatten=True))
        days = files.group_by(created_date="partition.created_date").agg(facts=pl.col("num_records").sum())
        sized = changes.select("created_date").unique().join(days, on="created_date", how="left")
        portions = sized.sort("created_date").select(
            "created_date", portion=pl.col("facts").fill_null(0).cum_sum() // _MERGED_FACTS
        )
        return changes.join(portions, on="created_date", nulls_equal=True).partition_by(
            "portion", include_key=False
        )

    def _merge(self, changes: pl.DataFrame) -> Absorbed:
        columns: dict[str, Any] = {name: f"job.{name}" for name in STORED_COLUMNS}
        outcome = (
            self._table.merge(
                changes,
                predicate=_SAME_JOB,
                source_alias="job",
                target_alias="fact",
                writer_properties=_WRITER,
                # Streamed, it would read every day of the table instead of those that the changes name.
                streamed_exec=False,
            )
            .when_matched_delete("NOT job.counts")
            .when_matched_update(columns, predicate="job.counts AND fact.row_hash <> job.row_hash")
            .when_not_matched_insert(columns, predicate="job.counts")
            .execute()
        )
        return Absorbed(
            inserted=outcome["num_target_rows_inserted"],
            updated=outcome["num_target_rows_updated"],
            deleted=outcome["num_target_rows_deleted"],
        )

    def _moved(self, changes: pl.DataFrame) -> pl.DataFrame:
        """Where jobs are whose creation date is another one now, or none: `job_id, created_date`.

        It should never change, so there is hardly ever one; but a job with two homes would count twice.
        """
        homes = self.scan().select("job_id", "created_date")
        known = homes.filter(pl.col("job_id").is_in(changes["job_id"].implode())).collect()
        return known.join(changes, on=["job_id", "created_date"], how="anti")

    def images_since(self, version: int) -> Iterator[pl.DataFrame]:
        """Yield rows as they were before and after the commits past `version`, with `_commit_version`.

        Raises `FeedLost` when its files were removed meanwhile.
        """
        if version >= self.version:
            return
        try:
            for batch in self._table.load_cdf(starting_version=version + 1, ending_version=self.version):
                yield pl.DataFrame(batch).select(*STORED_COLUMNS, pl.col("_commit_version").cast(pl.Int64))
        # The reader raises nothing narrower.
        except Exception as lost:
            raise FeedLost from lost

    def scan(self) -> pl.LazyFrame:
        """All facts as of `version`; filters are pushed down to files and row groups."""
        uri = self._table.table_uri
        if uri.startswith("file:") and "%" in uri:
            return self._scan_oddly_named()
        return pl.scan_delta(self._table).select(*STORED_COLUMNS)

    def _scan_oddly_named(self) -> pl.LazyFrame:
        """The same in a folder whose name has a space or the like, which `scan_delta` looks for encoded."""
        files = [unquote(uri) for uri in self._table.file_uris()]
        if not files:
            return pl.LazyFrame(schema=STORED_COLUMNS)
        partition = {"created_date": STORED_COLUMNS["created_date"]}
        return pl.scan_parquet(files, glob=False, hive_schema=partition).select(*STORED_COLUMNS)


def open_facts(settings: Settings) -> JobFacts:
    """Open the table, or make an empty one where there is none."""
    location = settings.facts_location
    try:
        return JobFacts(DeltaTable(location))
    except TableNotFoundError:
        pass
    except (DeltaError, OSError) as broken:
        # What follows a question mark may be a key to the store.
        raise FactsUnusable(f"({location.partition('?')[0]})") from broken
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)
    return JobFacts(
        DeltaTable.create(
            location,
            schema=_arrow_schema(),
            partition_by=["created_date"],
            name="job_facts",
            description="One row per finished job; rebuilt from the source when deleted.",
            configuration={"delta.enableChangeDataFeed": "true"},
        )
    )


def _arrow_schema() -> Any:
    return Table.from_arrow(pl.DataFrame(schema=STORED_COLUMNS)).schema
