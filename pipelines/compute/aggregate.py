"""From jobs to cells: exact figures for every combination that the rollup plan keeps."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.calendars.calendar import Calendar
from pipelines.subjects.histogram import NO_DURATION, TOLD_BY_EXTREMES, borders_us
from pipelines.subjects.measures import PERCENTILES, WITH_HISTOGRAM
from pipelines.subjects.periods import Period
from pipelines.subjects.rollup import RollupPlan
from pipelines.subjects.subject import JOBS, Subject, masks_of, with_named_groups

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BUCKET: Final = pl.Int16()
_NUMBER: Final = pl.UInt32()
_PLACE: Final = pl.UInt8()

# Which number stands for a period.
_PERIODS: Final = pl.Series("period", [period.value for period in Period])
_PLACES: Final = {period: place for place, period in enumerate(_PERIODS)}
_BORDERS_US: Final = pl.Series(borders_us(), dtype=pl.Int64)

_BESIDE_FIGURES: Final[dict[str, pl.DataType]] = {
    "histogram_buckets": pl.List(pl.Int16()),
    "histogram_counts": pl.List(pl.Int32()),
}

_MEMORY_LIMIT_MB: Final = 768

# More jobs than this are aggregated a period at a time, so that the states of one period are held.
_AT_ONCE: Final = 50_000


class Aggregator:
    """A connection to DuckDB, kept for the chunks of a run, to be used in a `with`.

    The statement is that of the subject.
    """

    def __init__(self, statement: str, subject: Subject = JOBS) -> None:
        self._subject = subject
        # A list of buckets is made ten times as fast as DuckDB's own histogram of many small groups.
        self._statement = statement.format(
            shares=list(PERCENTILES.values()), told_by_extremes=TOLD_BY_EXTREMES
        )

    def __enter__(self) -> "Aggregator":
        return self

    def __exit__(self, *_: object) -> None:
        if "_duckdb" in vars(self):
            self._duckdb.close()

    @cached_property
    def _duckdb(self) -> "DuckDBPyConnection":
        """Opened when there is something to compute, which most hours of most organizations do not have."""
        connection = _in_memory().cursor()
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    def cells(
        self, jobs: "Numbered", plan: RollupPlan, buckets: pl.DataFrame | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the cells of jobs whose buckets are complete, columns as the subject's cells.

        `plan` says which combinations of which periods; `buckets` (`organization_id, period, period_start`)
        which buckets, None all of them. Durations are whole microseconds until the last step, then
        milliseconds.
        """
        few = jobs.frame.height <= _AT_ONCE
        for part in [plan] if few else [{period: masks} for period, masks in plan.items()]:
            masks = masks_of(part, self._subject).select(
                pl.col("period").replace_strict(_PLACES, return_dtype=_PLACE),
                pl.exclude("period").cast(_NUMBER),
            )
            chunk = jobs.in_buckets(part, self._subject, buckets)
            if chunk.height:
                yield _finished(self._aggregated(chunk, masks), jobs.names, self._subject)

    def _aggregated(self, chunk: pl.DataFrame, masks: pl.DataFrame) -> pl.DataFrame:
        tables = {"chunk": chunk, "masks": masks}
        try:
            for name, frame in tables.items():
                self._duckdb.register(name, _Stream(frame))
            return pl.DataFrame(self._duckdb.sql(self._statement))
        finally:
            for name in tables:
                self._duckdb.unregister(name)


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
        jobs = with_named_groups(facts.lazy(), subject).collect(engine="in-memory").lazy()
        numbers = _numbers(subject)
        found = pl.collect_all(
            [jobs.select(pl.col(column).unique()) for column in numbers], engine="in-memory"
        )
        ids = {frame.columns[0]: frame.to_series() for frame in found}
        # Number 0 of each dictionary is what the statement answers for a dimension that is "all".
        every = {"organization_id": b"", **subject.every}
        names = {
            column: pl.concat([pl.Series(column, [every[column]], dtype=known.dtype), known])
            for column, known in ids.items()
        }
        for column, number in numbers.items():
            places = pl.int_range(1, pl.len() + 1, dtype=_NUMBER).alias(number)
            numbering = ids[column].to_frame().lazy().with_columns(places)
            jobs = jobs.join(numbering, on=column, how="left", maintain_order="left")
        frame = jobs.select(
            *numbers.values(),
            *(calendar.period_start(period).alias(period.value) for period in periods),
            **subject.outcomes,
            duration_us=_honest(subject.duration_us),
        ).with_columns(_duration_bucket())
        return cls(frame.collect(engine="in-memory"), names)

    def in_buckets(
        self, periods: Iterable[Period], subject: Subject, buckets: pl.DataFrame | None
    ) -> pl.DataFrame:
        """A row for each job and period: the numbers, the measures, `period` and `period_start`.

        Only those in these buckets are given, unless they are None.
        """
        no_bucket = pl.lit(None, dtype=_BUCKET).alias("duration_bucket")
        rows = pl.concat(
            self.frame.lazy().select(
                *_numbers(subject).values(),
                *subject.outcomes,
                "duration_us",
                "duration_bucket" if period in WITH_HISTOGRAM else no_bucket,
                pl.lit(_PLACES[period], dtype=_PLACE).alias("period"),
                pl.col(period.value).to_physical().alias("period_start"),
            )
            for period in periods
        )
        if buckets is None:
            return rows.collect(engine="in-memory")
        organizations = self.names["organization_id"].to_frame().lazy().with_row_index("organization")
        wanted = (
            buckets.lazy()
            .join(organizations, on="organization_id")
            .select(
                "organization",
                pl.col("period").replace_strict(_PLACES, return_dtype=_PLACE),
                pl.col("period_start").to_physical(),
            )
        )
        return rows.join(wanted, on=wanted.collect_schema().names(), how="semi").collect(engine="in-memory")


@cache
def _in_memory() -> "DuckDBPyConnection":
    """The one of this process: to begin another takes as long as all cells of a quiet hour."""
    import duckdb

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


def _numbers(subject: Subject) -> dict[str, str]:
    """The column of numbers that stands for each column of ids."""
    return {"organization_id": "organization"} | subject.short_names


def _percentiles_ms() -> dict[str, pl.Expr]:
    """Interpolating between numbers beyond 2^53 may leave their interval, so each is put back into it."""
    percentiles = {}
    at_least = pl.col("min_duration_us").cast(pl.Float64)
    for place, name in enumerate(PERCENTILES):
        exact = pl.col("percentiles_us").list.get(place, null_on_oob=True)
        at_least = exact.clip(at_least, pl.col("max_duration_us").cast(pl.Float64))
        percentiles[name] = at_least / 1000
    return percentiles


def _finished(cells: pl.DataFrame, names: Mapping[str, pl.Series], subject: Subject) -> pl.DataFrame:
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
            period=_PERIODS.gather(cells["period"]),
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
    lists = pl.LazyFrame({"bucket": sorted_buckets}).with_row_index("cell")
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
    return (
        lists.join(runs, on="cell", how="left", maintain_order="left")
        .select(*_BESIDE_FIGURES)
        .collect(engine="in-memory")
    )
