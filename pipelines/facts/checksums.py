"""Days in three numbers each: what differs in one of them is read again."""

from typing import Final

import polars as pl

_LOW: Final = 0xFFFFFFFF


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
    """The days of which two checksums do not say the same: `organization_id` and the day."""
    key = ("organization_id", day)
    both = one.join(other, on=key, how="full", coalesce=True, suffix="_other", nulls_equal=True)
    same = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(f"{name}_other")) for name in ("rows", "low", "high")
    )
    return both.filter(~same).select(*key).sort(*key)
