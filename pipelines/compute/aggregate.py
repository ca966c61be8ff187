"""From jobs to cells: exact figures for every combination that the rollup plan keeps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import duckdb
import polars as pl

from pipelines.compute.calendar import Calendar
from pipelines.compute.subjects import JOBS, Subject, with_named_groups
from pipelines.model.histogram import NO_DURATION, TOLD_BY_EXTREMES, borders_us
from pipelines.model.metrics import PERCENTILES, WITH_HISTOGRAM
from pipelines.model.periods import Period
from pipelines.model.rollup_plan import Mask

_BUCKET: Final = pl.Int16()
_BORDERS_US: Final = pl.Series(borders_us(), dtype=pl.Int64)

# A list of them is made ten times as fast as DuckDB's own histogram of many small groups.
_BUCKETS: Final = (
    f"CASE WHEN count(duration_us) > {TOLD_BY_EXTREMES}"
    " THEN list_sort(list(duration_bucket) FILTER (duration_bucket IS NOT NULL)) END"
)
_NO_BUCKETS: Final = "NULL::SMALLINT[]"

_BESIDE_FIGURES: Final[dict[str, pl.DataType]] = {
    "histogram_buckets": pl.List(pl.Int16()),
    "histogram_counts": pl.List(pl.Int32()),
}

_MEMORY_LIMIT_MB: Final = 768


class Aggregator:
    """A connection to DuckDB, kept for the chunks of a run, to be used in a `with`.

    The statement is that of the subject.
    """

    def __init__(self, statement: str, subject: Subject = JOBS) -> None:
        self._statement, self._subject = statement, subject
        self._duckdb = _in_memory().cursor()
        self._duckdb.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> "Aggregator":
        return self

    def __exit__(self, *_: object) -> None:
        self._duckdb.close()

    def cells(self, jobs: "Numbered", period: Period, masks: Sequence[Mask]) -> pl.DataFrame:
        """Aggregate jobs whose buckets are complete: one row per cell, columns as the subject's cells.

        Durations are whole microseconds until the last step, then milliseconds.
        """
        period_start = pl.col(period.value).to_physical().alias("period_start")
        measures = (*self._subject.outcomes, "duration_us", "duration_bucket")
        chunk = jobs.frame.select(*_numbers(self._subject).values(), *measures, period_start)
        # GROUPING() takes no column that is in no set: one that is never broken down is 0 in all of them.
        dimensions = self._subject.dimensions.values()
        never = [_dimension(mask) for mask in dimensions if not any(mask in each for each in masks)]
        chunk = chunk.with_columns(pl.lit(0, dtype=pl.UInt32).alias(name) for name in never)
        self._duckdb.register("jobs", _Stream(chunk))
        try:
            # The stream can be read once, so it is kept while the grouping sets are computed.
            self._duckdb.execute("CREATE OR REPLACE TEMP TABLE chunk AS FROM jobs")
        finally:
            self._duckdb.unregister("jobs")
        text = self._statement.format(
            grouping_sets=", ".join(_grouping_set(mask, never) for mask in masks),
            shares=list(PERCENTILES.values()),
            buckets=_BUCKETS if period in WITH_HISTOGRAM else _NO_BUCKETS,
        )
        return _finished(pl.DataFrame(self._duckdb.sql(text)), jobs.names, period, self._subject)


@dataclass(frozen=True)
class Numbered:
    """Jobs with whole numbers for their ids, by which grouping is about three times as fast as by UUIDs.

    `frame` has organization and a number for each dimension, the outcomes, duration_us and duration_bucket
    (NULL when it is not honest) and for each period, under its name, where the bucket begins; the series of
    each column in `names` answers which id a number means.
    """

    frame: pl.DataFrame
    names: Mapping[str, pl.Series]

    @classmethod
    def of(
        cls,
        facts: pl.DataFrame,
        calendar: Calendar,
        periods: Iterable[Period] = Period,
        subject: Subject = JOBS,
    ) -> "Numbered":
        """Number the ids of facts (the measured columns) from 1; 0 is "all"."""
        jobs = with_named_groups(facts.lazy(), subject).collect()
        numbers, names = [], {}
        # Number 0 of each dictionary is what the statement answers for GROUPING() = 1.
        every = {"organization_id": b"", **subject.every}
        for column, number in _numbers(subject).items():
            ids = jobs.get_column(column).unique()
            places = pl.arange(1, ids.len() + 1, eager=True, dtype=pl.UInt32)
            numbering = pl.DataFrame({column: ids, number: places})
            numbered = jobs.select(column).join(numbering, on=column, how="left", maintain_order="left")
            numbers.append(numbered.get_column(number))
            names[column] = pl.concat([pl.Series(column, [every[column]], dtype=ids.dtype), ids])
        return cls(
            jobs.select(
                *numbers,
                *(calendar.period_start(period).alias(period.value) for period in periods),
                **subject.outcomes,
                duration_us=_honest(subject.duration_us),
            ).with_columns(_duration_bucket()),
            names,
        )

    def within(self, cells: pl.DataFrame, period: Period) -> "Numbered":
        """Those of the jobs that are in the same buckets as these cells."""
        organizations = self.names["organization_id"].to_frame().with_row_index("organization")
        wanted = (
            cells.select("organization_id", "period_start").unique().join(organizations, on="organization_id")
        )
        kept = self.frame.join(
            wanted,
            left_on=["organization", period.value],
            right_on=["organization", "period_start"],
            how="semi",
        )
        return Numbered(kept, self.names)


@cache
def _in_memory() -> duckdb.DuckDBPyConnection:
    """The one of this process: to begin another takes as long as all cells of a quiet hour."""
    return duckdb.connect(
        config={
            "memory_limit": f"{_MEMORY_LIMIT_MB}MB",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": False,
        }
    )


def emptied(keys: pl.DataFrame, subject: Subject = JOBS) -> pl.DataFrame:
    """Cells with these keys that no job is left in: no executions, columns as the subject's cells."""
    counts = [pl.lit(0, dtype=pl.Int64).alias(name) for name in subject.count_columns]
    figures = [
        pl.lit(0.0).alias(name) for name in subject.figure_columns if name not in subject.count_columns
    ]
    others = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in _BESIDE_FIGURES.items()]
    return keys.with_columns(*counts, *figures, *others).select(*subject.cell_columns)


class _Stream:
    """A frame that shows DuckDB nothing but its Arrow stream, which spares pyarrow."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


def _honest(duration_us: pl.Expr) -> pl.Expr:
    return pl.when(duration_us >= 0).then(duration_us)


def _duration_bucket() -> pl.Expr:
    """The number of the first border that a duration does not exceed."""
    duration = pl.col("duration_us")
    place = duration.map_batches(
        lambda durations: _BORDERS_US.search_sorted(durations, side="left").cast(_BUCKET),
        return_dtype=_BUCKET,
        is_elementwise=True,
    )
    no_duration = pl.lit(NO_DURATION, dtype=_BUCKET)
    bucket = pl.when(duration == 0).then(no_duration).when(duration.is_not_null()).then(place)
    return bucket.alias("duration_bucket")


def _grouping_set(mask: Mask, never: Sequence[str]) -> str:
    columns = ["organization", "period_start", *never, *map(_dimension, mask)]
    return f"({', '.join(columns)})"


def _numbers(subject: Subject) -> dict[str, str]:
    """The column of numbers that stands for each column of ids."""
    numbers = {column: _dimension(mask) for column, mask in subject.dimensions.items()}
    return {"organization_id": "organization"} | numbers


def _dimension(mask: Mask) -> str:
    assert mask.name
    return mask.name.lower()


def _percentiles_ms() -> dict[str, pl.Expr]:
    """Interpolating between numbers beyond 2^53 may leave their interval, so each is put back into it."""
    percentiles = {}
    at_least = pl.col("min_duration_us").cast(pl.Float64)
    for place, name in enumerate(PERCENTILES):
        exact = pl.col("percentiles_us").list.get(place, null_on_oob=True)
        at_least = exact.clip(at_least, pl.col("max_duration_us").cast(pl.Float64))
        percentiles[name] = at_least / 1000
    return percentiles


def _finished(
    cells: pl.DataFrame, names: Mapping[str, pl.Series], period: Period, subject: Subject
) -> pl.DataFrame:
    timed, sum_us = pl.col("timed_executions"), pl.col("total_duration_us")
    counted = [name for name in subject.count_columns if name not in subject.counted]
    numbers = _numbers(subject)
    return (
        cells.hstack(_histograms(cells.get_column("duration_buckets")))
        .select(
            *(names[column].gather(cells[number]).alias(column) for column, number in numbers.items()),
            *_BESIDE_FIGURES,
            *counted,
            **subject.counted,
            period=pl.lit(period.value),
            period_start=pl.col("period_start").cast(pl.Datetime("us", "UTC")),
            total_duration_ms=sum_us.fill_null(0.0) / 1000,
            average_duration_ms=pl.when(timed > 0).then(sum_us / timed / 1000),
            min_duration_ms=pl.col("min_duration_us") / 1000,
            max_duration_ms=pl.col("max_duration_us") / 1000,
            **_percentiles_ms(),
        )
        .select(*subject.cell_columns)
        .with_columns(pl.col(subject.count_columns).cast(pl.Int64))
    )


def _histograms(sorted_buckets: pl.Series) -> pl.DataFrame:
    """How often each bucket is in each list; all lists at once, which is five times as fast as one by one."""
    lists = pl.DataFrame({"bucket": sorted_buckets}).with_row_index("cell")
    runs = (
        lists.drop_nulls()
        .explode("bucket")
        .select(pl.struct("cell", "bucket").rle().alias("run"))
        .select(
            pl.col("run").struct.field("value").struct.unnest(),
            pl.col("run").struct.field("len").cast(pl.Int32).alias("count"),
        )
        .group_by("cell", maintain_order=True)
        .agg(histogram_buckets="bucket", histogram_counts="count")
    )
    return lists.join(runs, on="cell", how="left", maintain_order="left").select(*_BESIDE_FIGURES)
