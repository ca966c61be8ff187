"""The change data feed of the facts: which rows each commit wrote, and which it replaced."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from pipelines.errors import FeedLost
from pipelines.facts.file_checksums import LOG, Checksums
from pipelines.facts.folder import local_folder
from pipelines.subjects.subject import Fact


def commits_since(version: int, table: DeltaTable, location: str, fact: Fact) -> Iterator[pl.DataFrame]:
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
                *fact.stored_columns, pl.col("_commit_version").cast(pl.Int64), "_change_type"
            )


def commits_past(version: int, table: DeltaTable, location: str) -> list[dict[str, Any]]:
    """What each commit past that version says of itself; raises `FeedLost` when the log lacks one."""
    folder = local_folder(location)
    # Below a folder with a question mark or a hash in its name, `history` finds nothing.
    commits = (
        [told for commit in range(version + 1, table.version() + 1) for told in _told_by(commit, folder)]
        if folder
        else [commit for commit in table.history() if commit["version"] > version]
    )
    if len(commits) < table.version() - version:
        raise FeedLost
    return commits


def _told_by(commit: int, folder: Path) -> list[dict[str, Any]]:
    return [told for kind, told in _actions_of(commit, folder) if kind == "commitInfo"]


def _files_of(commit: int, folder: Path) -> list[str]:
    """Where the images of a commit are: in files of their own, or where it only adds or removes, in those."""
    actions = _actions_of(commit, folder)
    try:
        told = [told["path"] for kind, told in actions if kind == "cdc"]
        return told or [
            file["path"] for kind, file in actions if kind in ("add", "remove") and file["dataChange"]
        ]
    except (LookupError, TypeError) as lost:
        raise FeedLost from lost


def _actions_of(commit: int, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        lines = (folder / LOG / f"{commit:020}.json").read_text().splitlines()
        return [action for line in lines for action in json.loads(line).items()]
    except (OSError, ValueError, AttributeError) as lost:
        raise FeedLost from lost
