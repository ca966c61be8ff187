"""Which cells a changed job left or entered."""

from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from pipelines.compute.calendar import Calendar
from pipelines.compute.subjects import JOBS, Subject, every, with_named_groups
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import Mask

WEIGHT: Final = "weight"


def dirty_cells(
    images: pl.DataFrame,
    period: Period,
    masks: Sequence[Mask],
    calendar: Calendar,
    subject: Subject = JOBS,
) -> pl.DataFrame:
    """The keys of every cell of a period that the jobs are in, each once: the subject's key columns.

    `images` holds facts before and after a change, so both the cell left and the cell entered come. Where
    they have a `weight`, a cell has the least of its jobs'.
    """
    jobs = with_named_groups(images.lazy(), subject).with_columns(calendar.period_start(period)).collect()
    return pl.concat(pl.collect_all([_keys(jobs.lazy(), period, mask, subject) for mask in masks]))


def _keys(jobs: pl.LazyFrame, period: Period, mask: Mask, subject: Subject) -> pl.LazyFrame:
    jobs = jobs.with_columns(pl.lit(period.value).alias("period"), *_dimensions(mask, subject))
    keys = subject.key_columns
    if WEIGHT in jobs.collect_schema():
        return jobs.group_by(keys).agg(pl.col(WEIGHT).min()).select(*keys, WEIGHT)
    return jobs.select(*keys).unique()


def _dimensions(mask: Mask, subject: Subject) -> Iterable[pl.Expr]:
    for name, dimension in subject.dimensions.items():
        yield pl.col(name) if dimension in mask else every(subject, name)
