"""Days of creation in three numbers each: what differs in one of them is read again."""

from typing import Final

import polars as pl

_LOW: Final = 0xFFFFFFFF


def digest(jobs: pl.LazyFrame, home: str = "created_date") -> pl.DataFrame:
    """Count and hashes of jobs that count: `organization_id`, the day, `jobs, low, high`.

    The lower and the upper 32 bits of `row_hash` are summed apart, so that no sum can overflow.
    """
    row_hash = pl.col("row_hash")
    return (
        jobs.group_by("organization_id", home)
        .agg(
            jobs=pl.len().cast(pl.Int64),
            low=(row_hash & _LOW).sum(),
            high=((row_hash - (row_hash & _LOW)) // (_LOW + 1)).sum(),
        )
        .collect()
    )


def differing_days(one: pl.DataFrame, other: pl.DataFrame, home: str = "created_date") -> pl.DataFrame:
    """The days of which two digests do not say the same: `organization_id` and the day."""
    day = ("organization_id", home)
    both = one.join(other, on=day, how="full", coalesce=True, suffix="_other", nulls_equal=True)
    same = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(f"{name}_other")) for name in ("jobs", "low", "high")
    )
    return both.filter(~same).select(*day).sort(*day)
