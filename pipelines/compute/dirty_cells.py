"""Which cells a changed row left or entered."""

from typing import Final

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.compute.cells import grouping_sets, with_none_members
from pipelines.frames import DTYPES, sentinel
from pipelines.subjects.rollup import RollupPlan
from pipelines.subjects.subject import Subject

WEIGHT: Final = "weight"


def dirty_cells(
    changes: pl.DataFrame, plan: RollupPlan, calendar: Calendar, subject: Subject
) -> pl.DataFrame:
    """The keys of every cell of a plan that the rows are in, each once: the subject's key columns.

    `changes` holds facts before and after a change, so both the cell left and the cell entered come. Where
    they have a `weight`, a cell has the least of its rows'.
    """
    rows = with_none_members(changes.lazy(), subject)
    in_periods = pl.concat(
        rows.with_columns(calendar.period_start(period), pl.lit(period.value).alias("period"))
        for period in plan
    )
    of_each = [
        pl.when(each.short)
        .then(each.column)
        .otherwise(pl.lit(sentinel(each.every), dtype=DTYPES[each.type]))
        .alias(each.column)
        for each in subject.dimensions
    ]
    keyed = in_periods.join(grouping_sets(plan, subject).lazy(), on="period").with_columns(of_each)
    keys = subject.key_columns
    if WEIGHT in changes.columns:
        found = keyed.group_by(keys).agg(pl.col(WEIGHT).min()).select(*keys, WEIGHT)
    else:
        found = keyed.select(*keys).unique()
    return found.collect(engine="in-memory")
