"""The change data feed of the facts: rows before and after each commit, and the cause of each change."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable

from pipelines.errors import FeedLost
from pipelines.facts.folder import LOG, local_folder
from pipelines.subjects.jobs import TombstoneReason
from pipelines.subjects.reasons import Restated
from pipelines.subjects.subject import TOMBSTONE, Fact, Subject

_AFTER: Final = f"{TOMBSTONE}_after"


def read_changes(table: DeltaTable, fact: Fact, version: int) -> Iterator[pl.DataFrame]:
    """Yield the changes of each commit past that version which has any; as `Facts.changes_since` says."""
    for commit in range(version + 1, table.version() + 1):
        try:
            feed = table.load_cdf(starting_version=commit, ending_version=commit)
            changes = [pl.DataFrame(batch) for batch in feed]
        # The reader raises nothing narrower.
        except Exception as lost:
            raise FeedLost from lost
        if changes:
            yield pl.concat(changes).select(
                *fact.stored_columns, pl.col("_commit_version").cast(pl.Int64), "_change_type"
            )


def read_commits(table: DeltaTable, location: str, version: int) -> list[dict[str, Any]]:
    """The `commitInfo` of each commit past that version; raises `FeedLost` when the log lacks one."""
    folder = local_folder(location)
    # Below a folder with a question mark or a hash in its name, `history` finds nothing.
    commits = (
        [info for commit in range(version + 1, table.version() + 1) for info in _info(folder, commit)]
        if folder
        else [commit for commit in table.history() if commit["version"] > version]
    )
    if len(commits) < table.version() - version:
        raise FeedLost
    return commits


def with_cause(changes: pl.DataFrame, subject: Subject) -> pl.DataFrame:
    """The changes of rows that count, before or after, each with the `cause` of its change, a `Restated`.

    `changes` are those of whole commits, as `Facts.changes_since` yields them. A row that is new is `late`,
    whenever it comes.
    """
    rows = changes.lazy()
    commit = (subject.fact.key, "_commit_version")
    row = (*commit, subject.fact.partition_column)
    before, after = (
        rows.filter(pl.col("_change_type") == kind).select(*row, TOMBSTONE, *_times(subject))
        for kind in ("update_preimage", "update_postimage")
    )
    updates = before.join(after, on=row, suffix="_after").select(*row, update_cause=_cause_of_update(subject))
    left = updates.filter(pl.col("update_cause") == Restated.EDITED).select(*commit).unique()
    return (
        rows.filter(pl.col(TOMBSTONE).is_null())
        .join(updates, on=row, how="left")
        .join(left.with_columns(moved=True), on=commit, how="left")
        .with_columns(
            cause=pl.when(_change_is("insert"))
            # A row that moves to another partition enters the one and leaves the other in the same commit.
            .then(pl.when("moved").then(_literal(Restated.EDITED)).otherwise(_literal(Restated.LATE)))
            .when(_change_is("delete"))
            .then(_literal(Restated.DELETED))
            .otherwise(pl.col("update_cause").fill_null(Restated.EDITED.value))
        )
        .drop("update_cause", "moved")
        .collect(engine="in-memory")
    )


def _times(subject: Subject) -> tuple[str, ...]:
    """The times of a row that both move on when it is retried."""
    return tuple(
        dict.fromkeys((*(subject.duration if len(subject.duration) == 2 else ()), subject.fact.time))
    )


def _cause_of_update(subject: Subject) -> pl.Expr:
    was, is_now = pl.col(TOMBSTONE), pl.col(_AFTER)
    begun_and_ended = len(subject.duration) == 2
    later = pl.all_horizontal(
        pl.lit(begun_and_ended), *(pl.col(f"{name}_after") > pl.col(name) for name in _times(subject))
    )
    reasons = {
        TombstoneReason.DELETED.value: Restated.DELETED.value,
        TombstoneReason.RETRIED.value: Restated.RETRIED.value,
    }
    return (
        pl.when(is_now.is_not_null())
        .then(is_now.replace_strict(reasons, default=Restated.EDITED.value))
        .when((was == TombstoneReason.RETRIED) | (was.is_null() & later))
        .then(_literal(Restated.RETRIED))
        .otherwise(_literal(Restated.EDITED))
    )


def _change_is(kind: str) -> pl.Expr:
    return pl.col("_change_type") == kind


def _literal(reason: Restated) -> pl.Expr:
    return pl.lit(reason.value)


def _info(folder: Path, commit: int) -> list[dict[str, Any]]:
    try:
        lines = (folder / LOG / f"{commit:020}.json").read_text().splitlines()
        actions = [action for line in lines for action in json.loads(line).items()]
    except (OSError, ValueError, AttributeError) as lost:
        raise FeedLost from lost
    return [info for kind, info in actions if kind == "commitInfo"]
