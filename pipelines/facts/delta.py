"""The Delta tables behind the facts: their columns, their log, and whether every file is there."""

from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import polars as pl
from arro3.core import Table
from deltalake import CommitProperties, DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError

from pipelines.errors import (
    FactsNewer,
    FactsUnusable,
)
from pipelines.facts.folder import local_folder, refuse_what_is_no_damage, shown, table_at
from pipelines.frames import schema_of
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import TOMBSTONE, Fact

_DESCRIPTION: Final = "One row per row of the source that counts or once counted; rebuilt when deleted."

_CONFIGURATION: Final = {
    "delta.enableChangeDataFeed": "true",
    # Longer than any `feed_retention`, or else a checkpoint would forget when a file was replaced.
    "delta.deletedFileRetentionDuration": "interval 30 days",
    # Opening a table reads every commit since the last checkpoint: 0.3 ms each, and a checkpoint takes 2 ms.
    "delta.checkpointInterval": "10",
}

# More are told apart by the statistics in the log, without opening each.
_FEW_FILES: Final = 50

# In the metadata of a column that was added: the version that added it.
_ADDED_BY: Final = "execmetrics.added_by"

# What a path may have that `scan_delta` takes for an encoding, a partition or a pattern.
_MISLEADING: Final = frozenset("%=*?[")

# What the column with a file's path is called while it is read.
_PATH: Final = "path of the file"

# A commit made since this version was read may have changed the same rows, so nothing is written over it.
FENCED: Final = CommitProperties(max_commit_retries=0)


def opened(location: str, fact: Fact = JOBS.fact) -> DeltaTable | None:
    """The table, or None where no table is; it may lack columns, which are read as NULL.

    Raises `FactsUnusable` when its log cannot be read or lacks a part, when a file in a local folder is
    missing or has another size, and when columns are of another type or an indispensable one is missing;
    `FactsNewer` when it has columns that this version does not know.
    """
    folder = local_folder(location)
    try:
        table = table_at(location)
        if table is None:
            return None
        damage = _other_columns(table, location, fact) or (folder and _damaged_file(table, folder, fact))
    except (DeltaError, OSError) as broken:
        refuse_what_is_no_damage(location, broken)
        raise FactsUnusable(f"({shown(location)})") from broken
    if damage:
        raise FactsUnusable(f"({shown(location)}: {damage})")
    return table


def created(location: str, fact: Fact = JOBS.fact) -> DeltaTable:
    """A new table without a row, or the one that another process made just now."""
    if folder := local_folder(location):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        return DeltaTable.create(
            location,
            schema=_arrow_schema(fact),
            partition_by=[fact.partition_column],
            name=fact.table,
            description=_DESCRIPTION,
            configuration=_CONFIGURATION,
            commit_properties=FENCED,
        )
    except DeltaError:
        if (table := opened(location, fact)) is None:
            raise
        return table


def rows_of(table: DeltaTable, fact: Fact = JOBS.fact) -> pl.LazyFrame:
    """Every row of this version; filters are pushed down to files and row groups."""
    uri, files = table.table_uri, table.file_uris()
    # What `scan_delta` does before it reads takes three times what reading a few files does.
    if (uri.startswith("file:") and len(files) <= _FEW_FILES) or set(uri) & _MISLEADING:
        return _rows_in(files, fact)
    dtypes = schema_of(fact.stored_columns)
    nulls = {field.name: pl.lit(None, dtypes[field.name]) for field in lacking_columns(table, fact)}
    return pl.scan_delta(table).with_columns(**nulls).select(*fact.stored_columns)


def lacking_columns(table: DeltaTable, fact: Fact) -> list[Field]:
    """The columns that a table which an earlier version made does not have yet."""
    there = {field.name for field in table.schema().fields}
    return [field for field in _schema(fact).fields if field.name not in there]


def added_columns(table: DeltaTable) -> dict[str, int]:
    """The columns that were added after rows had been written, and the version that added each."""
    return {
        field.name: int(field.metadata[_ADDED_BY])
        for field in table.schema().fields
        if _ADDED_BY in field.metadata
    }


def add_columns(table: DeltaTable, fact: Fact) -> None:
    """Add the columns that are lacking, in one commit; rows that are there have NULL in them."""
    added_by = {_ADDED_BY: str(table.version() + 1)}
    table.alter.add_columns(
        [Field(field.name, field.type, metadata=added_by) for field in lacking_columns(table, fact)],
        commit_properties=FENCED,
    )


def files_of(table: DeltaTable, fact: Fact = JOBS.fact) -> pl.DataFrame:
    """The files of this version: `path, size_bytes, rows, tombstones, modified_ms`, the partition column."""
    return pl.DataFrame(table.get_add_actions(flatten=True)).select(
        "path",
        "size_bytes",
        pl.col(f"partition.{fact.partition_column}").alias(fact.partition_column),
        rows="num_records",
        tombstones=pl.col("num_records") - pl.col(f"null_count.{TOMBSTONE}"),
        modified_ms="modification_time",
    )


def _other_columns(table: DeltaTable, location: str, fact: Fact) -> str | None:
    """Why rows with these columns cannot be ours; raises `FactsNewer`."""
    there = {field.name: field.type for field in table.schema().fields}
    ours = {field.name: field.type for field in _schema(fact).fields}
    if unknown := there.keys() - ours.keys():
        raise FactsNewer(f"({shown(location)}: {', '.join(sorted(unknown))})")
    of_another_type = any(ours[name] != there[name] for name in there)
    return "columns of another version" if of_another_type or _indispensable(fact) - there.keys() else None


def _schema(fact: Fact) -> Schema:
    return Schema.from_arrow(_arrow_schema(fact))


@cache
def _arrow_schema(fact: Fact) -> Any:
    return Table.from_arrow(_no_rows(fact)).schema


@cache
def _no_rows(fact: Fact) -> pl.DataFrame:
    return pl.DataFrame(schema=schema_of(fact.stored_columns))


def _rows_in(files: list[str], fact: Fact) -> pl.LazyFrame:
    if not files:
        return _no_rows(fact).lazy()
    paths, columns = [unquote(uri) for uri in files], schema_of(fact.stored_columns)
    day = columns.pop(fact.partition_column)
    # A file that is older than a column does not have it.
    scan = partial(pl.scan_parquet, paths, glob=False, schema=columns, missing_columns="insert")
    # A folder above the table may look like a partition, too.
    *above, _, _ = paths[0].split("/")
    named = [folder.partition("=")[0] for folder in above if "=" in folder]
    if len({*named, *fact.stored_columns}) == len(named) + len(fact.stored_columns):
        hive = dict.fromkeys(named, pl.String()) | {fact.partition_column: day}
        return scan(hive_schema=hive).select(*fact.stored_columns)
    # One that is named like a column would hide it. This reads every day, whichever are asked for.
    own_folder = pl.col(_PATH).str.extract("=([^/]*)/[^/]*$").str.to_date()
    rows = scan(hive_partitioning=False, include_file_paths=_PATH)
    return rows.with_columns(own_folder.alias(fact.partition_column)).select(*fact.stored_columns)


def _damaged_file(table: DeltaTable, folder: Path, fact: Fact) -> str | None:
    """What the sizes of the files in use say of damage: some 10 ms for a thousand files."""
    for name, size in files_of(table, fact).select("path", "size_bytes").iter_rows():
        if (folder / name).stat().st_size != size:
            return f"{name} has another size"
    return None


def _indispensable(fact: Fact) -> frozenset[str]:
    """The columns without which it is not known which row it is, whose it is and whether it counts."""
    return frozenset({*fact.place, "organization_id", TOMBSTONE})
