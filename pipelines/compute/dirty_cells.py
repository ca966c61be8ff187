"""Which cells a changed job left or entered."""

from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from pipelines.compute.calendar import Calendar
from pipelines.model.metrics import DIMENSIONS, KEY_COLUMNS
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import Mask
from pipelines.model.sentinels import ALL_CLIENTS, ALL_INITIATORS, ALL_WORKFLOWS, NO_CLIENT, UNKNOWN_INITIATOR

WEIGHT: Final = "weight"

_ALL: Final = {
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


def dirty_cells(
    images: pl.DataFrame, period: Period, masks: Sequence[Mask], calendar: Calendar
) -> pl.DataFrame:
    """The keys of every cell of a period that the jobs are in, each once: KEY_COLUMNS.

    `images` holds facts before and after a change, so both the cell left and the cell entered come. Where
    they have a `weight`, a cell has the least of its jobs'.
    """
    jobs = with_named_groups(images.lazy()).with_columns(calendar.period_start(period)).collect()
    return pl.concat(pl.collect_all([_keys(jobs.lazy(), period, mask) for mask in masks]))


def _keys(jobs: pl.LazyFrame, period: Period, mask: Mask) -> pl.LazyFrame:
    jobs = jobs.with_columns(pl.lit(period.value).alias("period"), *_dimensions(mask))
    if WEIGHT in jobs.collect_schema():
        return jobs.group_by(KEY_COLUMNS).agg(pl.col(WEIGHT).min()).select(*KEY_COLUMNS, WEIGHT)
    return jobs.select(*KEY_COLUMNS).unique()


def _dimensions(mask: Mask) -> Iterable[pl.Expr]:
    for name, dimension in DIMENSIONS.items():
        yield pl.col(name) if dimension in mask else _ALL[name].alias(name)
