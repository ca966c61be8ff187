"""Stored cells beside those that SQL on the source gives: what differs, and by how much."""

from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from pipelines.subjects.subject import Subject

# Figures come from two programs that add and interpolate doubles in their own order.
_RELATIVE_TOLERANCE: Final = 1e-9

# In place of a column, where a whole cell is missing or left over.
ROW: Final = "row"

Found = tuple[dict[str, Any], str, float | None, float | None]


def side_by_side(stored: pl.DataFrame, expected: pl.DataFrame, subject: Subject) -> pl.DataFrame:
    """One row per cell that is stored or expected: each figure twice, the expected one with a suffix."""
    return stored.with_columns(is_stored=pl.lit(True)).join(
        _with_histogram(expected, subject).with_columns(is_expected=pl.lit(True)),
        on=subject.key_columns,
        how="full",
        coalesce=True,
        suffix="_expected",
    )


def differences(both: pl.DataFrame, subject: Subject) -> Iterator[Found]:
    """Yield each figure that differs: its cell, its column, what is stored and what was expected.

    Of a cell that is missing or left over it is `ROW`, with the counts of both; of a column that is no number
    there is no number to tell.
    """
    alone = both.filter(pl.col("is_stored").is_null() | pl.col("is_expected").is_null())
    for row in alone.sort(*subject.key_columns).iter_rows(named=True):
        yield row, ROW, row[subject.total], row[f"{subject.total}_expected"]
    paired = both.filter("is_stored", "is_expected").sort(*subject.key_columns)
    for column in subject.measure_columns:
        for row in paired.filter(_differs(column, subject)).iter_rows(named=True):
            yield row, column, row[column], row[f"{column}_expected"]
    for column in subject.histogram_columns:
        differs = pl.col(column).ne_missing(pl.col(f"{column}_expected"))
        for row in paired.filter(differs).iter_rows(named=True):
            yield row, column, None, None


def _with_histogram(expected: pl.DataFrame, subject: Subject) -> pl.DataFrame:
    """Count the jobs in each bucket of durations."""
    if not subject.duration:
        return expected
    runs = pl.col("duration_buckets").list.eval(pl.element().rle())
    fields = zip(subject.histogram_columns, (("value", pl.Int16()), ("len", pl.Int32())), strict=True)
    return expected.with_columns(
        runs.list.eval(pl.element().struct.field(field).cast(dtype)).alias(name)
        for name, (field, dtype) in fields
    ).drop("duration_buckets")


def _differs(column: str, subject: Subject) -> pl.Expr:
    stored, expected = pl.col(column), pl.col(f"{column}_expected")
    if column in subject.count_columns:
        return stored.ne_missing(expected)
    far = (stored - expected).abs() > _RELATIVE_TOLERANCE * pl.max_horizontal(stored.abs(), expected.abs())
    return (stored.is_null() != expected.is_null()) | far.fill_null(False) | stored.is_nan().fill_null(False)
