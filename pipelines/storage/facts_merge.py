"""What a hand-off has to write into the facts, found out before anything is written."""

import polars as pl

from pipelines.model.jobs import Gone

# What has to be known of a fact to tell whether a job changed it.
KNOWN_COLUMNS = ("job_id", "created_date", "row_hash", "gone")

_HOME = ("job_id", "created_date")


def counted_at_home(known: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """The facts (KNOWN_COLUMNS) that count and whose job still has the day of creation it had."""
    return known.filter(pl.col("gone").is_null()).join(changes, on=_HOME, how="semi")


def needed(changes: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The rows that make the facts say what the changes say, each with `known`: is there a fact to update?

    `known` holds the facts of these jobs (KNOWN_COLUMNS). A job whose day of creation was edited leaves the
    day it had, lest it count twice. Rows that leave have an id, a day and `gone`; other columns are NULL.
    """
    facts, rows = known.lazy(), changes.lazy()
    there = facts.select(*_HOME, "row_hash", was_gone=pl.col("gone").is_not_null(), known=True)
    counting = rows.filter(pl.col("gone").is_null()).join(there, on=_HOME, how="left", suffix="_before")
    differs = pl.col("row_hash").ne_missing(pl.col("row_hash_before"))
    entering = counting.filter(pl.col("known").is_null() | pl.col("was_gone") | differs)
    jobs = rows.select("job_id", day="created_date", why="gone")
    leaving = (
        facts.filter(pl.col("gone").is_null())
        .join(jobs, on="job_id")
        .filter(pl.col("why").is_not_null() | pl.col("day").ne_missing(pl.col("created_date")))
        .select(*_HOME, gone=pl.col("why").fill_null(Gone.EDITED.value), known=True)
    )
    written = pl.concat([entering, leaving], how="diagonal")
    return written.select(*changes.columns, pl.col("known").fill_null(False)).collect()


def portions(rows: pl.DataFrame, facts_per_day: pl.DataFrame, limit: int) -> list[pl.DataFrame]:
    """Cut rows by days that hold about so many facts together; a job that moved between days is not torn.

    `facts_per_day`: `created_date, facts`.
    """
    by_first_day = rows.with_columns(day=pl.col("created_date").min().over("job_id"))
    days = by_first_day.select(created_date="day").unique().join(facts_per_day, on="created_date", how="left")
    return (
        by_first_day.join(in_portions(days, limit), left_on="day", right_on="created_date")
        .drop("day")
        .partition_by("portion", maintain_order=True, include_key=False)
    )


def in_portions(days: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Number days (`created_date, facts`) so that those of a `portion` hold about so many facts."""
    portion = pl.col("facts").fill_null(0).cum_sum() // limit
    return days.sort("created_date").select("created_date", portion=portion)
