"""Why a job changed the cells that it left or entered."""

from typing import Final

import polars as pl

from pipelines.subjects.jobs import Gone
from pipelines.subjects.restatements import Restated

_COMMIT: Final = ("job_id", "_commit_version")
_ROW: Final = (*_COMMIT, "created_date")


def with_cause(images: pl.DataFrame) -> pl.DataFrame:
    """The images in which a job counts, each with the `cause` of its change, a `Restated`.

    `images` are those of whole commits, as the feed of the facts has them: rows as they were before and
    after, with `gone`, `_commit_version` and `_change_type`. A job that is new is `late`, whenever it comes.
    """
    rows = images.lazy()
    before, after = (
        rows.filter(pl.col("_change_type") == kind).select(*_ROW, "gone", "started_at", "completed_at")
        for kind in ("update_preimage", "update_postimage")
    )
    updates = before.join(after, on=_ROW, suffix="_after").select(*_ROW, update_cause=_cause_of_update())
    left = updates.filter(pl.col("update_cause") == Restated.EDITED).select(*_COMMIT).unique()
    return (
        rows.filter(pl.col("gone").is_null())
        .join(updates, on=_ROW, how="left")
        .join(left.with_columns(moved=True), on=_COMMIT, how="left")
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


def _cause_of_update() -> pl.Expr:
    was_gone, is_gone = pl.col("gone"), pl.col("gone_after")
    later = (pl.col("started_at_after") > pl.col("started_at")) & (
        pl.col("completed_at_after") > pl.col("completed_at")
    )
    reasons = {Gone.DELETED.value: Restated.DELETED.value, Gone.RETRIED.value: Restated.RETRIED.value}
    return (
        pl.when(is_gone.is_not_null())
        .then(is_gone.replace_strict(reasons, default=Restated.EDITED.value))
        .when((was_gone == Gone.RETRIED) | (was_gone.is_null() & later))
        .then(_said(Restated.RETRIED))
        .otherwise(_said(Restated.EDITED))
    )


def _change_is(kind: str) -> pl.Expr:
    return pl.col("_change_type") == kind


def _said(reason: Restated) -> pl.Expr:
    return pl.lit(reason.value)
