"""Which cells a changed job left or entered."""

from collections.abc import Iterable, Sequence

import polars as pl

from pipelines.model.metrics import DIMENSIONS, KEY_COLUMNS, TRUNCATIONS
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import Mask
from pipelines.model.sentinels import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS, NO_CLIENT, UNKNOWN_INITIATOR

_ALL = {
    "workflow_id": pl.lit(ALL_WORKFLOWS.bytes, dtype=pl.Binary),
    "client_id": pl.lit(ALL_CLIENTS.bytes, dtype=pl.Binary),
    "initiator_type": pl.lit(ALL_INITIATORS, dtype=pl.String),
}


def with_named_groups(facts: pl.LazyFrame) -> pl.LazyFrame:
    """Replace a missing client and initiator by the sentinels under which they are counted."""
    return facts.with_columns(
        pl.col("client_id").fill_null(pl.lit(NO_CLIENT.bytes, dtype=pl.Binary)),
        pl.col("initiator_type").fill_null(UNKNOWN_INITIATOR),
    )


def dirty_cells(images: pl.DataFrame, period: Period, masks: Sequence[Mask]) -> pl.DataFrame:
    """The keys of every cell of a period that the jobs are in, each once: KEY_COLUMNS.

    `images` holds facts before and after a change, so both the cell left and the cell entered come.
    """
    jobs = with_named_groups(images.lazy())
    return pl.concat(pl.collect_all([_keys(jobs, period, mask) for mask in masks])).select(*KEY_COLUMNS)


def period_start(period: Period) -> pl.Expr:
    """The UTC start of the bucket that a job completed in."""
    return pl.col("completed_at").dt.truncate(TRUNCATIONS[period]).alias("period_start")


def _keys(jobs: pl.LazyFrame, period: Period, mask: Mask) -> pl.LazyFrame:
    return jobs.select(
        "organization_id", period_start(period), pl.lit(period.value).alias("period"), *_dimensions(mask)
    ).unique()


def _dimensions(mask: Mask) -> Iterable[pl.Expr]:
    for name, dimension in DIMENSIONS.items():
        yield pl.col(name) if dimension in mask else _ALL[name].alias(name)
