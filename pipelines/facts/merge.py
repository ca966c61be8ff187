"""What differs between the facts and the source: the rows that a hand-off writes, the days to read again."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from pipelines.subjects.jobs import TombstoneReason
from pipelines.subjects.subject import TOMBSTONE, Fact

_LOW: Final = 0xFFFFFFFF


def known_columns(fact: Fact, added: Iterable[str] = ()) -> tuple[str, ...]:
    """What has to be known of a fact to tell whether a row of the source changed it.

    A row from before a column was `added` lacks its value, which a hash of the source's row may not tell.
    """
    return (*fact.place, TOMBSTONE, *{"row_hash", *added})


def counted_in_place(known: pl.DataFrame, changes: pl.DataFrame, fact: Fact) -> pl.DataFrame:
    """The facts (their known columns) that count and are in the partition that the change names."""
    return known.filter(pl.col(TOMBSTONE).is_null()).join(changes, on=fact.place, how="semi")


def needed(changes: pl.DataFrame, known: pl.DataFrame, fact: Fact) -> pl.DataFrame:
    """The rows that make the facts say what the changes say, each with `known`: is there a fact to update?

    `known` holds the facts with the keys of the changes (the known columns). A row whose partition column
    was edited leaves the partition that it had, or else it would count twice. Rows that leave have the key,
    the partition column and the tombstone; other columns are NULL.
    """
    facts, rows, counts = known.lazy(), changes.lazy(), pl.col(TOMBSTONE).is_null()
    compared = [name for name in known.columns if name not in {*fact.place, TOMBSTONE}]
    there = facts.select(*fact.place, *compared, was_tombstone=~counts, known=True)
    counting = rows.filter(counts).join(there, on=fact.place, how="left", suffix="_before")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in compared)
    entering = counting.filter(pl.col("known").is_null() | pl.col("was_tombstone") | differs)
    partition = rows.select(fact.key, new_partition=fact.partition_column, reason=TOMBSTONE)
    moved = pl.col("new_partition").ne_missing(pl.col(fact.partition_column))
    reason = pl.col("reason").fill_null(TombstoneReason.EDITED.value).alias(TOMBSTONE)
    leaving = (
        facts.filter(counts)
        .join(partition, on=fact.key)
        .filter(pl.col("reason").is_not_null() | moved)
        .select(*fact.place, reason, known=True)
    )
    written = pl.concat([entering, leaving], how="diagonal")
    return written.select(*changes.columns, pl.col("known").fill_null(False)).collect(engine="in-memory")


def portions(rows: pl.DataFrame, facts_per_day: pl.DataFrame, limit: int, fact: Fact) -> list[pl.DataFrame]:
    """Cut rows by days that hold about so many facts together; a row that moved stays whole.

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


def checksums(rows: pl.LazyFrame, day: str) -> pl.DataFrame:
    """Count and hashes of rows that count: `organization_id`, the day, `rows, low, high`.

    The lower and the upper 32 bits of `row_hash` are summed apart, so that no sum can overflow.
    """
    row_hash = pl.col("row_hash")
    return (
        rows.group_by("organization_id", day)
        .agg(
            rows=pl.len().cast(pl.Int64),
            low=(row_hash & _LOW).sum(),
            high=((row_hash - (row_hash & _LOW)) // (_LOW + 1)).sum(),
        )
        .collect()
    )


def differing_days(one: pl.DataFrame, other: pl.DataFrame, day: str) -> pl.DataFrame:
    """The days whose checksums are not the same: `organization_id` and the day."""
    key = ("organization_id", day)
    both = one.join(other, on=key, how="full", coalesce=True, suffix="_other", nulls_equal=True)
    same = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(f"{name}_other")) for name in ("rows", "low", "high")
    )
    return both.filter(~same).select(*key).sort(*key)
