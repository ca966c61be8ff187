"""Jobs in portions of whole buckets: the portion, not the backlog, decides how much memory is used."""

import polars as pl

from pipelines.compute.dirty_cells import period_start
from pipelines.model.periods import Period

_BUCKET = ("organization_id", "period_start")


def bucket_sizes(jobs: pl.LazyFrame, period: Period) -> pl.DataFrame:
    """How many jobs each bucket holds: `organization_id, period_start, jobs`."""
    return jobs.group_by("organization_id", period_start(period)).len("jobs").collect()


def parts(sizes: pl.DataFrame, jobs: int) -> list[pl.DataFrame]:
    """Cut buckets, by organization and time, into parts of about so many jobs; none is cut itself.

    Sizes of the same bucket add up. Each part: `organization_id, period_start`.
    """
    summed = sizes.group_by(_BUCKET).agg(pl.col("jobs").sum()).sort(_BUCKET)
    part = ((pl.col("jobs").cum_sum() - 1) // jobs).alias("part")
    return summed.select(*_BUCKET, part).partition_by("part", maintain_order=True, include_key=False)


def in_buckets(jobs: pl.LazyFrame, wanted: pl.DataFrame, period: Period) -> pl.LazyFrame:
    """The jobs in these buckets (`organization_id, period_start`)."""
    first, last = wanted["period_start"].min(), wanted["period_start"].max()
    # A month is the longest bucket; the exact ones are told apart by the join.
    reach = pl.lit(last).dt.offset_by("1mo")
    organization_ids = wanted["organization_id"].unique().implode()
    return (
        jobs.filter(
            pl.col("completed_at") >= first,
            pl.col("completed_at") < reach,
            pl.col("organization_id").is_in(organization_ids),
        )
        .with_columns(period_start(period))
        .join(wanted.lazy().select(_BUCKET), on=_BUCKET, how="semi")
        .drop("period_start")
    )
