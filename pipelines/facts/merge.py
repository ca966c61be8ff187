"""What a hand-off has to write into the facts, found out before anything is written."""

from collections.abc import Iterable

import polars as pl

from pipelines.subjects.jobs import TombstoneReason
from pipelines.subjects.subject import Fact


def known_columns(fact: Fact, added: Iterable[str] = ()) -> tuple[str, ...]:
    """What has to be known of a fact to tell whether a job changed it.

    A row from before a column was `added` lacks its value, which a hash of the source's row may not tell.
    """
    return (*fact.place, "gone", *{"row_hash", *added})


def counted_at_home(known: pl.DataFrame, changes: pl.DataFrame, fact: Fact) -> pl.DataFrame:
    """The facts (their known columns) that count and whose job still has the home it had."""
    return known.filter(pl.col("gone").is_null()).join(changes, on=fact.place, how="semi")


def needed(changes: pl.DataFrame, known: pl.DataFrame, fact: Fact) -> pl.DataFrame:
    """The rows that make the facts say what the changes say, each with `known`: is there a fact to update?

    `known` holds the facts of these jobs (the known columns). A job whose home was edited leaves the day it
    had, lest it count twice. Rows that leave have an id, a day and `gone`; other columns are NULL.
    """
    facts, rows = known.lazy(), changes.lazy()
    compared = [name for name in known.columns if name not in {*fact.place, "gone"}]
    there = facts.select(*fact.place, *compared, was_gone=pl.col("gone").is_not_null(), known=True)
    counting = rows.filter(pl.col("gone").is_null()).join(there, on=fact.place, how="left", suffix="_before")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in compared)
    entering = counting.filter(pl.col("known").is_null() | pl.col("was_gone") | differs)
    jobs = rows.select(fact.key, day=fact.partition_column, why="gone")
    leaving = (
        facts.filter(pl.col("gone").is_null())
        .join(jobs, on=fact.key)
        .filter(pl.col("why").is_not_null() | pl.col("day").ne_missing(pl.col(fact.partition_column)))
        .select(*fact.place, gone=pl.col("why").fill_null(TombstoneReason.EDITED.value), known=True)
    )
    written = pl.concat([entering, leaving], how="diagonal")
    return written.select(*changes.columns, pl.col("known").fill_null(False)).collect(engine="in-memory")


def portions(rows: pl.DataFrame, facts_per_day: pl.DataFrame, limit: int, fact: Fact) -> list[pl.DataFrame]:
    """Cut rows by days that hold about so many facts together; a job that moved between days is not torn.

    `facts_per_day`: the day, under its name, and `facts`.
    """
    by_first_day = rows.with_columns(day=pl.col(fact.partition_column).min().over(fact.key))
    first_days = by_first_day.select(pl.col("day").alias(fact.partition_column)).unique()
    days = first_days.join(facts_per_day, on=fact.partition_column, how="left")
    return (
        by_first_day.join(in_portions(days, limit, fact), left_on="day", right_on=fact.partition_column)
        .drop("day")
        .partition_by("portion", maintain_order=True, include_key=False)
    )


def in_portions(days: pl.DataFrame, limit: int, fact: Fact) -> pl.DataFrame:
    """Number days (their name and `facts`) so that those of a `portion` hold about so many facts."""
    portion = pl.col("facts").fill_null(0).cum_sum() // limit
    return days.sort(fact.partition_column).select(fact.partition_column, portion=portion)
