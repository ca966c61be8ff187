"""The change data feed of the facts: which rows each commit wrote, and which it replaced."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from pipelines.errors import FeedLost
from pipelines.storage.facts_checksums import LOG, Checksums
from pipelines.storage.facts_log import local_folder
from pipelines.storage.facts_table import Kind


def commits_since(version: int, table: DeltaTable, location: str, kind: Kind) -> Iterator[pl.DataFrame]:
    """Yield the images of each commit past that version which has any; as `Facts.images_since` says."""
    folder = local_folder(location)
    checksums = Checksums(folder) if folder else None
    for commit in range(version + 1, table.version() + 1):
        if folder and checksums and checksums.changed(_files_of(commit, folder)):
            raise FeedLost
        try:
            feed = table.load_cdf(starting_version=commit, ending_version=commit)
            images = [pl.DataFrame(batch) for batch in feed]
        # The reader raises nothing narrower.
        except Exception as lost:
            raise FeedLost from lost
        if images:
            yield pl.concat(images).select(
                *kind.columns, pl.col("_commit_version").cast(pl.Int64), "_change_type"
            )


def _files_of(commit: int, folder: Path) -> list[str]:
    """Where the images of a commit are: in files of their own, or where it only adds or removes, in those."""
    try:
        lines = (folder / LOG / f"{commit:020}.json").read_text().splitlines()
        actions = [action for line in lines for action in json.loads(line).items()]
        told = [told["path"] for kind, told in actions if kind == "cdc"]
        return told or [
            file["path"] for kind, file in actions if kind in ("add", "remove") and file["dataChange"]
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as lost:
        raise FeedLost from lost
