"""Why a job changed the cells that it left or entered."""

import polars as pl

from pipelines.subjects.jobs import TombstoneReason
from pipelines.subjects.restatements import Restated
from pipelines.subjects.subject import Subject


def with_cause(changes: pl.DataFrame, subject: Subject) -> pl.DataFrame:
    """The changed rows that count, before or after, each with the `cause` of its change, a `Restated`.

    `changes` are those of whole commits, as the feed of the facts has them: rows as they were before and
    after, with `gone`, `_commit_version` and `_change_type`. A job that is new is `late`, whenever it comes.
    """
    rows = changes.lazy()
    commit = (subject.fact.key, "_commit_version")
    row = (*commit, subject.fact.partition_column)
    before, after = (
        rows.filter(pl.col("_change_type") == kind).select(*row, "gone", *_times(subject))
        for kind in ("update_preimage", "update_postimage")
    )
    updates = before.join(after, on=row, suffix="_after").select(*row, update_cause=_cause_of_update(subject))
    left = updates.filter(pl.col("update_cause") == Restated.EDITED).select(*commit).unique()
    return (
        rows.filter(pl.col("gone").is_null())
        .join(updates, on=row, how="left")
        .join(left.with_columns(moved=True), on=commit, how="left")
        .with_columns(
            cause=pl.when(_change_is("insert"))
            # Whose day of creation was edited is new on the one and leaves the other in the same commit.
            .then(pl.when("moved").then(_said(Restated.EDITED)).otherwise(_said(Restated.LATE)))
            .when(_change_is("delete"))
            .then(_said(Restated.DELETED))
            .otherwise(pl.col("update_cause").fill_null(Restated.EDITED.value))
        )
        .drop("update_cause", "moved")
        .collect(engine="in-memory")
    )


def _times(subject: Subject) -> tuple[str, ...]:
    """The times of a row that both move on when it was done again."""
    return tuple(
        dict.fromkeys((*(subject.duration if len(subject.duration) == 2 else ()), subject.fact.time))
    )


def _cause_of_update(subject: Subject) -> pl.Expr:
    was_gone, is_gone = pl.col("gone"), pl.col("gone_after")
    begun_and_ended = len(subject.duration) == 2
    later = pl.all_horizontal(
        pl.lit(begun_and_ended), *(pl.col(f"{name}_after") > pl.col(name) for name in _times(subject))
    )
    reasons = {
        TombstoneReason.DELETED.value: Restated.DELETED.value,
        TombstoneReason.RETRIED.value: Restated.RETRIED.value,
    }
    return (
        pl.when(is_gone.is_not_null())
        .then(is_gone.replace_strict(reasons, default=Restated.EDITED.value))
        .when((was_gone == TombstoneReason.RETRIED) | (was_gone.is_null() & later))
        .then(_said(Restated.RETRIED))
        .otherwise(_said(Restated.EDITED))
    )


def _change_is(kind: str) -> pl.Expr:
    return pl.col("_change_type") == kind


def _said(reason: Restated) -> pl.Expr:
    return pl.lit(reason.value)
