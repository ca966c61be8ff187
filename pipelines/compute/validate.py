"""Which extracted rows may be counted, and what is wrong with the others."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipelines.model.anomalies import EFFECTS, Effect, Reason
from pipelines.model.jobs import FACT_COLUMNS, FINISHED, UNFINISHED
from pipelines.model.sentinels import RESERVED_IDS, RESERVED_INITIATORS

FOUND_COLUMNS: Final[dict[str, pl.DataType]] = {
    "job_id": pl.Binary(),
    "organization_id": pl.Binary(),
    "reason": pl.String(),
    "effect": pl.String(),
}


def with_verdict(
    jobs: pl.DataFrame, *, clock: datetime, earliest: datetime, tolerance: timedelta | None
) -> pl.DataFrame:
    """Add a boolean for each `Reason`, does it apply, and `counts`, does the job belong in the facts.

    `clock` is the source's own time; a completion later than clock + tolerance waits until it is due.
    """
    reported = pl.col("status").is_in(UNFINISHED).not_().fill_null(True) & ~pl.col("deleted")
    finished = pl.col("status").is_in(FINISHED).fill_null(False)
    completed = pl.col("completed_at")
    too_early = (completed < earliest).fill_null(False)
    too_late = pl.lit(False) if tolerance is None else (completed > clock + tolerance).fill_null(False)
    applies = {
        Reason.NEGATIVE_DURATION: finished & (completed < pl.col("started_at")).fill_null(False),
        Reason.MISSING_TIMESTAMP: finished & pl.col("missing_timestamp"),
        Reason.INFINITE_TIMESTAMP: pl.col("infinite_timestamp"),
        Reason.TIMESTAMP_OUT_OF_RANGE: pl.col("timestamp_out_of_range") | too_early,
        Reason.FUTURE_TIMESTAMP: too_late,
        Reason.RESERVED_IDENTIFIER: _reserved(),
        Reason.FOREIGN_WORKFLOW: pl.col("foreign_workflow"),
        Reason.FOREIGN_CLIENT: pl.col("foreign_client"),
        Reason.UNKNOWN_STATUS: ~finished,
    }
    hindrances = [reason.value for reason in Reason if EFFECTS[reason] is Effect.NOT_COUNTED]
    return (
        jobs.with_columns(reported=reported)
        .with_columns((pl.col("reported") & wrong).alias(reason.value) for reason, wrong in applies.items())
        .select(pl.exclude("reported"), counts=pl.col("reported") & ~pl.any_horizontal(hindrances))
    )


def anomalies(judged: pl.DataFrame) -> pl.DataFrame:
    """One row per job and reason: columns as FOUND_COLUMNS; `judged` comes from `with_verdict`."""
    reasons = [reason.value for reason in Reason]
    effects = {reason.value: effect.value for reason, effect in EFFECTS.items()}
    return (
        judged.filter(pl.any_horizontal(reasons))
        .unpivot(reasons, index=["job_id", "organization_id"], variable_name="reason", value_name="applies")
        .filter("applies")
        .select("job_id", "organization_id", "reason")
        .with_columns(effect=pl.col("reason").replace_strict(effects, return_dtype=pl.String))
    )


def changes(judged: pl.DataFrame) -> pl.DataFrame:
    """What the facts need of each row: FACT_COLUMNS, `created_date` (UTC) and `counts`."""
    return judged.select(*FACT_COLUMNS, pl.col("created_at").dt.date().alias("created_date"), "counts")


def _reserved() -> pl.Expr:
    reserved = [sentinel.bytes for sentinel in RESERVED_IDS]
    ids = [
        pl.col(name).is_in(reserved).fill_null(False)
        for name in ("organization_id", "workflow_id", "client_id")
    ]
    return pl.any_horizontal(*ids, pl.col("initiator_type").is_in(list(RESERVED_INITIATORS)).fill_null(False))
