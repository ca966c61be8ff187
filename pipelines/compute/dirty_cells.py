"""Which cells a changed job left or entered."""

from typing import Final

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.subjects.rollup import RollupPlan
from pipelines.subjects.subject import JOBS, Subject, every, masks_of, with_named_groups

WEIGHT: Final = "weight"


def dirty_cells(
    images: pl.DataFrame, plan: RollupPlan, calendar: Calendar, subject: Subject = JOBS
) -> pl.DataFrame:
    """The keys of every cell of a plan that the jobs are in, each once: the subject's key columns.

    `images` holds facts before and after a change, so both the cell left and the cell entered come. Where
    they have a `weight`, a cell has the least of its jobs'.
    """
    jobs = with_named_groups(images.lazy(), subject)
    in_periods = pl.concat(
        jobs.with_columns(calendar.period_start(period), pl.lit(period.value).alias("period"))
        for period in plan
    )
    of_each = [
        pl.when(short_name).then(column).otherwise(every(subject, column)).alias(column)
        for column, short_name in subject.short_names.items()
    ]
    rows = in_periods.join(masks_of(plan, subject).lazy(), on="period").with_columns(of_each)
    keys = subject.key_columns
    if WEIGHT in images.columns:
        return rows.group_by(keys).agg(pl.col(WEIGHT).min()).select(*keys, WEIGHT).collect(engine="in-memory")
    return rows.select(*keys).unique().collect(engine="in-memory")
