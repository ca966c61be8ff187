"""Rows in portions of whole buckets: the portion, not the backlog, decides how much memory is used."""

from datetime import timedelta
from typing import Final

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.subjects.rollup import Period

_BUCKET: Final = ("organization_id", "period_start")

# Where clocks go back to midnight, a row can be some hours earlier than its bucket is said to begin; and the
# month in which they go back is longer than its days.
_ASTRAY: Final = timedelta(days=2)
_LONGEST: Final = timedelta(days=31)


def bucket_sizes(rows: pl.LazyFrame, period: Period, calendar: Calendar) -> pl.DataFrame:
    """How many rows each bucket holds: `organization_id, period_start, rows`."""
    return rows.group_by("organization_id", calendar.period_start(period)).len("rows").collect()


def parts(sizes: pl.DataFrame, rows: int) -> list[pl.DataFrame]:
    """Cut buckets, by organization and time, into parts of about so many rows; none is cut itself.

    Sizes of the same bucket add up. Each part: `organization_id, period_start`.
    """
    summed = sizes.group_by(_BUCKET).agg(pl.col("rows").sum()).sort(_BUCKET)
    part = ((pl.col("rows").cum_sum() - 1) // rows).alias("part")
    return summed.select(*_BUCKET, part).partition_by("part", maintain_order=True, include_key=False)


def in_buckets(rows: pl.LazyFrame, wanted: pl.DataFrame, period: Period, calendar: Calendar) -> pl.LazyFrame:
    """The rows in these buckets (`organization_id, period_start`)."""
    start = pl.col("period_start")
    first, last, organization_ids = wanted.select(
        start.min(), last=start.max(), organization_id=pl.col("organization_id").unique().implode()
    )
    return (
        # Nearly these, and quickly so; the join tells them apart.
        rows.filter(
            pl.col("completed_at") >= pl.lit(first) - _ASTRAY,
            pl.col("completed_at") < pl.lit(last) + _LONGEST + _ASTRAY,
            pl.col("organization_id").is_in(organization_ids),
        )
        .with_columns(calendar.period_start(period))
        .join(wanted.lazy().select(_BUCKET), on=_BUCKET, how="semi")
        .drop("period_start")
    )
