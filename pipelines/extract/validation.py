"""Which extracted rows may be counted, and what is wrong with the others."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipelines.frames import schema_of
from pipelines.subjects.dimensions import RESERVED_IDS, RESERVED_INITIATORS
from pipelines.subjects.jobs import (
    FINISHED,
    JOBS,
    LONGEST_INITIATOR_TYPE,
    UNFINISHED,
    Status,
    TombstoneReason,
)
from pipelines.subjects.reasons import EFFECTS, NOT_COUNTED, Reason

FOUND_COLUMNS: Final[dict[str, pl.DataType]] = {
    "job_id": pl.Binary(),
    "organization_id": pl.Binary(),
    "reason": pl.String(),
    "effect": pl.String(),
    "detail": pl.String(),
}

NOTHING_FOUND: Final = pl.DataFrame(schema=FOUND_COLUMNS)


def _is_one_of(column: str, values: Iterable[str | bytes]) -> pl.Expr:
    plain = [value if isinstance(value, bytes) else str(value) for value in values]
    return pl.col(column).is_in(pl.Series(plain).implode()).fill_null(False)


_REPORTED: Final = ~_is_one_of("status", UNFINISHED) & ~pl.col("deleted")
_FINISHED: Final = _is_one_of("status", FINISHED)
_RETRIED: Final = _is_one_of("status", [Status.PENDING, Status.RUNNING])
_RESERVED: Final = pl.any_horizontal(
    *(
        _is_one_of(name, [sentinel.bytes for sentinel in RESERVED_IDS])
        for name in ("organization_id", "workflow_id", "client_id")
    ),
    _is_one_of("initiator_type", RESERVED_INITIATORS),
)


def with_verdict(
    jobs: pl.DataFrame, *, clock: datetime, earliest: datetime, tolerance: timedelta | None
) -> pl.DataFrame:
    """Add a boolean for each `Reason`, does it apply, and `counts`, does the job belong in the facts.

    `clock` is the source's own time; a completion later than clock + tolerance waits until it is due.
    """
    completed = pl.col("completed_at")
    too_early = (completed < earliest).fill_null(False)
    too_late = pl.lit(False) if tolerance is None else (completed > clock + tolerance).fill_null(False)
    applies = {
        Reason.NEGATIVE_DURATION: _FINISHED & (completed < pl.col("started_at")).fill_null(False),
        Reason.MISSING_TIMESTAMP: _FINISHED & pl.col("missing_timestamp"),
        Reason.INFINITE_TIMESTAMP: pl.col("infinite_timestamp"),
        Reason.TIMESTAMP_OUT_OF_RANGE: pl.col("timestamp_out_of_range") | too_early,
        Reason.FUTURE_TIMESTAMP: too_late,
        Reason.RESERVED_IDENTIFIER: _RESERVED,
        Reason.INITIATOR_TYPE_TOO_LONG: (
            pl.col("initiator_type").str.len_chars() > LONGEST_INITIATOR_TYPE
        ).fill_null(False),
        Reason.FOREIGN_WORKFLOW: pl.col("foreign_workflow"),
        Reason.FOREIGN_CLIENT: pl.col("foreign_client"),
        Reason.UNKNOWN_STATUS: ~_FINISHED,
    }
    hindrances = [reason.value for reason in NOT_COUNTED]
    return (
        jobs.lazy()
        .with_columns(reported=_REPORTED)
        .with_columns((pl.col("reported") & wrong).alias(reason.value) for reason, wrong in applies.items())
        .select(pl.exclude("reported"), counts=pl.col("reported") & ~pl.any_horizontal(hindrances))
        .collect(engine="in-memory")
    )


def anomalies(judged: pl.DataFrame) -> pl.DataFrame:
    """One row per job and reason: columns as FOUND_COLUMNS; `judged` comes from `with_verdict`.

    `detail` says what was seen, where that is a time: never payload, and no text that somebody typed.
    """
    wrong = judged.filter(pl.any_horizontal(reason.value for reason in Reason))
    if wrong.is_empty():
        return NOTHING_FOUND
    details = _details()
    return pl.concat(
        wrong.lazy()
        .filter(reason.value)
        .select(
            "job_id",
            "organization_id",
            reason=pl.lit(reason.value),
            effect=pl.lit(EFFECTS[reason].value),
            detail=details.get(reason, pl.lit("")).fill_null(""),
        )
        for reason in Reason
    ).collect()


def changes(judged: pl.DataFrame) -> pl.DataFrame:
    """What the facts need of each row: schema_of(JOBS.fact.columns), `gone` and `created_date` (UTC).

    `gone` says why the job does not count, as a `TombstoneReason`, and is NULL while it does.
    """
    gone = (
        pl.when("counts")
        .then(None)
        .when("deleted")
        .then(pl.lit(TombstoneReason.DELETED.value))
        .when(_RETRIED)
        .then(pl.lit(TombstoneReason.RETRIED.value))
        .otherwise(pl.lit(TombstoneReason.EDITED.value))
    )
    return judged.select(
        *schema_of(JOBS.fact.columns), gone=gone, created_date=pl.col("created_at").dt.date()
    )


def _details() -> dict[Reason, pl.Expr]:
    started, completed = pl.col("started_at"), pl.col("completed_at")
    no_start, no_end = started.is_null(), completed.is_null()
    duration_ms = ((completed - started).dt.total_microseconds() / 1000).cast(pl.String)
    completion = pl.format("completed_at={}", completed.dt.strftime("%Y-%m-%dT%H:%M:%S%.f%:z"))
    # A time that cannot be read is as empty as one that is missing.
    unreadable = pl.col(Reason.INFINITE_TIMESTAMP.value) | pl.col(Reason.TIMESTAMP_OUT_OF_RANGE.value)
    another_is_wrong = pl.col("created_at").is_null() | (no_start & ~pl.col(Reason.MISSING_TIMESTAMP.value))
    missing = pl.concat_str(
        pl.when(no_start).then(pl.lit("started_at")),
        pl.when(no_end).then(pl.lit("completed_at")),
        separator=", ",
        ignore_nulls=True,
    )
    return {
        Reason.NEGATIVE_DURATION: pl.format("duration_ms={}", duration_ms.str.strip_suffix(".0")),
        Reason.MISSING_TIMESTAMP: pl.when(~(unreadable & no_start & no_end)).then(missing),
        Reason.TIMESTAMP_OUT_OF_RANGE: pl.when(~another_is_wrong).then(completion),
        Reason.FUTURE_TIMESTAMP: completion,
    }
