"""The Delta tables behind the facts: their columns, where they lie, and whether all of them is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import polars as pl
from arro3.core import Table
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipelines.errors import FactsUnusable
from pipelines.model.jobs import FACT_COLUMNS
from pipelines.model.steps import STEP_FACT_COLUMNS
from pipelines.settings import Settings
from pipelines.storage.facts_checksums import Checksums
from pipelines.storage.facts_log import damaged_log, local_folder, refuse_what_is_no_damage, shown, told

# `gone` is NULL while the job counts, and says why when it no longer does.
STORED_COLUMNS: Final[dict[str, pl.DataType]] = FACT_COLUMNS | {
    "gone": pl.String(),
    "created_date": pl.Date(),
}


@dataclass(frozen=True, eq=False)
class Kind:
    """A table of facts: a row is known by its `key`, and lives on the UTC day in its column `home`."""

    name: str
    description: str
    columns: Mapping[str, pl.DataType]
    key: str
    home: str

    @property
    def place(self) -> tuple[str, str]:
        """What names one row."""
        return (self.key, self.home)


JOB_FACTS: Final = Kind(
    "job_facts",
    "One row per job that counts or once counted; rebuilt from the source when deleted.",
    STORED_COLUMNS,
    key="job_id",
    home="created_date",
)

STEP_FACTS: Final = Kind(
    "step_facts",
    "One row per step that counts or once counted; rebuilt from the source when deleted.",
    STEP_FACT_COLUMNS | {"gone": pl.String(), "completed_date": pl.Date()},
    key="log_id",
    home="completed_date",
)

_CONFIGURATION: Final = {
    "delta.enableChangeDataFeed": "true",
    # Longer than any `feed_retention`, or else a checkpoint would forget when a file was replaced.
    "delta.deletedFileRetentionDuration": "interval 30 days",
}

# More are told apart by the statistics in the log, without opening each.
_FEW_FILES: Final = 50

# What a path may have that `scan_delta` takes for an encoding, a partition or a pattern.
_MISLEADING: Final = frozenset("%=*?[")

# What the column with a file's path is called while it is read.
_PATH: Final = "path of the file"

# Whoever wrote since a version was read may have changed the same jobs, so nothing is written over it.
FENCED: Final = CommitProperties(max_commit_retries=0)


def location_of(settings: Settings, kind: Kind) -> str:
    """Where the table is."""
    return settings.facts_location if kind is JOB_FACTS else settings.step_facts_location


def opened(location: str, kind: Kind = JOB_FACTS) -> DeltaTable | None:
    """The table, or None where there is none.

    Raises `FactsUnusable` when its log cannot be read or lacks a part, when a file in a local folder is
    missing or not as it was written, and when the columns are those of another version of this program.
    """
    folder = local_folder(location)
    try:
        # First of all, because a damaged checkpoint can end the whole process.
        damage = folder and damaged_log(folder)
        if not damage:
            table = DeltaTable(location)
            expected = table.schema() == Schema.from_arrow(_arrow_schema(kind))
            damage = (
                (folder and _damaged_file(table, folder, kind)) if expected else "columns of another version"
            )
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as broken:
        refuse_what_is_no_damage(location, broken)
        raise FactsUnusable(f"({shown(location)})") from broken
    if damage:
        raise FactsUnusable(f"({shown(location)}: {damage})")
    return table


def created(location: str, kind: Kind = JOB_FACTS) -> DeltaTable:
    """A new table without a row, or the one that somebody else made just now."""
    if folder := local_folder(location):
        folder.mkdir(parents=True, exist_ok=True)
        Checksums(folder).discard()
    try:
        return DeltaTable.create(
            location,
            schema=_arrow_schema(kind),
            partition_by=[kind.home],
            name=kind.name,
            description=kind.description,
            configuration=_CONFIGURATION,
            commit_properties=FENCED,
        )
    except DeltaError:
        if (table := opened(location, kind)) is None:
            raise
        return table


def rows_of(table: DeltaTable, kind: Kind = JOB_FACTS) -> pl.LazyFrame:
    """Every row of this version; filters are pushed down to files and row groups."""
    uri, files = table.table_uri, table.file_uris()
    # What `scan_delta` does before it reads takes three times what reading a few files does.
    if (uri.startswith("file:") and len(files) <= _FEW_FILES) or set(uri) & _MISLEADING:
        return _rows_in(files, kind)
    return pl.scan_delta(table).select(*kind.columns)


def files_of(table: DeltaTable, kind: Kind = JOB_FACTS) -> pl.DataFrame:
    """The files of this version: `path, size_bytes, rows, gone, modified_ms` and their day, the home."""
    return pl.DataFrame(table.get_add_actions(flatten=True)).select(
        "path",
        "size_bytes",
        pl.col(f"partition.{kind.home}").alias(kind.home),
        rows="num_records",
        gone=pl.col("num_records") - pl.col("null_count.gone"),
        modified_ms="modification_time",
    )


@cache
def _arrow_schema(kind: Kind) -> Any:
    return Table.from_arrow(pl.DataFrame(schema=dict(kind.columns))).schema


def _rows_in(files: list[str], kind: Kind) -> pl.LazyFrame:
    if not files:
        return pl.LazyFrame(schema=dict(kind.columns))
    paths = [unquote(uri) for uri in files]
    # A folder above the table may look like a partition, too.
    *above, _, _ = paths[0].split("/")
    named = [folder.partition("=")[0] for folder in above if "=" in folder]
    if len({*named, *kind.columns}) == len(named) + len(kind.columns):
        hive = dict.fromkeys(named, pl.String()) | {kind.home: kind.columns[kind.home]}
        return pl.scan_parquet(paths, glob=False, hive_schema=hive).select(*kind.columns)
    # One that is named like a column would hide it. This reads every day, whichever are asked for.
    own_folder = pl.col(_PATH).str.extract("=([^/]*)/[^/]*$").str.to_date()
    rows = pl.scan_parquet(paths, glob=False, hive_partitioning=False, include_file_paths=_PATH)
    return rows.with_columns(own_folder.alias(kind.home)).select(*kind.columns)


def _damaged_file(table: DeltaTable, folder: Path, kind: Kind) -> str | None:
    """What a look at the sizes and times of the files in use finds wrong: some 10 ms for a thousand."""
    files = files_of(table, kind)
    for name, size in files.select("path", "size_bytes").iter_rows():
        if (folder / name).stat().st_size != size:
            return f"{name} has another size"
    return told(Checksums(folder).changed(files["path"]))
