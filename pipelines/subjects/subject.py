"""A subject: what is measured, from the columns of its facts to the columns of its cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pipelines.subjects.dimensions import Dimension
from pipelines.subjects.measures import TIMED, Kind, Measure
from pipelines.subjects.rollup import Period, RollupPlan

BUCKET: Final = ("organization_id", "period", "period_start")

# How many timed rows took about how long, see `histogram`: periods that are added up to other ranges have it.
HISTOGRAM: Final = {"histogram_buckets": "smallint[]", "histogram_counts": "integer[]"}
WITH_HISTOGRAM: Final = (Period.HOUR, Period.DAY)

# Why a row of facts no longer counts; NULL while it does.
TOMBSTONE: Final = "gone"


@dataclass(frozen=True, eq=False)
class Fact:
    """A table of facts: the name, the type of each column, the key, and the UTC day that partitions it.

    Types are `uuid`, `text`, `timestamptz`, `bigint` and `date`. `row_hash` covers all of a source row that
    can change a figure. `time` is the column that puts a row into a bucket.
    """

    table: str
    key: str
    partition_column: str
    columns: Mapping[str, str]
    time: str = "completed_at"

    @cached_property
    def stored_columns(self) -> Mapping[str, str]:
        """All columns of the table, in order: those that are read, the tombstone, and the day."""
        return {**self.columns, TOMBSTONE: "text", self.partition_column: "date"}

    @property
    def place(self) -> tuple[str, str]:
        """What names one row of the table."""
        return (self.key, self.partition_column)

    @property
    def order(self) -> tuple[str, ...]:
        """How rows lie in their files."""
        return (self.partition_column, "organization_id", self.time)


@dataclass(frozen=True, eq=False)
class SourceRows:
    """Where rows come from: `statement`, SQL or the name of one, and the relation it reads as `r`.

    The statement gives the columns of the facts, and `counts`, whether a row belongs in the facts; it ends
    with the place {selected}. `columns` are those of the relation that a role has to be allowed to read;
    `key` and `time` are its columns for the key and the time of a fact. A statement that is `of_jobs` reads
    the job of a row as `j`, by `job_id` of the relation. Rows before the months that were dropped from
    `months`, a table, are gone for good.
    """

    relation: str
    columns: tuple[str, ...]
    statement: str
    key: str = "id"
    time: str = "completed_at"
    of_jobs: bool = False
    months: str | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """Rows of facts become cells of `table`, one for each grouping set of the rollup plan.

    `row` is what one row is called. A row has one of the `outcomes`: which values of `outcome_column` mean
    which. `duration` has the columns that its duration goes from and to, or the one that holds it in
    microseconds; it is empty for a subject without durations. `source` is None for jobs, whose rows are
    judged one by one. `rules` is raised by hand when a rule changes that no other field shows.
    """

    name: str
    row: str
    table: str
    fact: Fact
    dimensions: tuple[Dimension, ...]
    outcome_column: str | None
    outcomes: Mapping[str, tuple[str, ...]]
    duration: tuple[str, ...]
    measures: tuple[Measure, ...]
    rollup: RollupPlan
    rules: str
    source: SourceRows | None = None

    def stage(self, name: str) -> str:
        """What a stage of a run is called: jobs have the plain names."""
        return name if self.name == "jobs" else f"{name}_{self.name}"

    @cached_property
    def dimension_columns(self) -> tuple[str, ...]:
        """The columns that cells are broken down by."""
        return tuple(each.column for each in self.dimensions)

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that name a cell."""
        return (*BUCKET, *self.dimension_columns)

    @cached_property
    def measure_columns(self) -> tuple[str, ...]:
        """The columns of the measures."""
        return tuple(each.name for each in self.measures)

    @cached_property
    def count_columns(self) -> tuple[str, ...]:
        """The measures that are whole numbers."""
        return tuple(each.name for each in self.measures if each.kind is Kind.COUNT)

    @cached_property
    def histogram_columns(self) -> tuple[str, ...]:
        """The columns of the histogram of durations, if the subject has durations."""
        return tuple(HISTOGRAM) if self.duration else ()

    @cached_property
    def value_columns(self) -> tuple[str, ...]:
        """What a cell says: measures and histogram."""
        return (*self.measure_columns, *self.histogram_columns)

    @cached_property
    def cell_columns(self) -> tuple[str, ...]:
        """The columns of a computed cell, in order."""
        return (*self.key_columns, *self.value_columns)

    @cached_property
    def fact_columns(self) -> tuple[str, ...]:
        """The columns of facts from which cells are computed."""
        ends = () if self.outcome_column is None else (self.outcome_column,)
        wanted = ("organization_id", *self.dimension_columns, *ends, *self.duration, self.fact.time)
        return tuple(dict.fromkeys(wanted))

    def percentiles(self, among: str | None = None) -> dict[str, float]:
        """Percentiles of timed rows, or of those with one outcome: name and share, the least share first."""
        found = {
            each.name: each.share for each in self.measures if each.share is not None and each.among == among
        }
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def dimension(self, column: str) -> Dimension:
        """The dimension of a column; raises `KeyError`."""
        return {each.column: each for each in self.dimensions}[column]

    def measure(self, name: str) -> Measure:
        """The measure of a column; raises `KeyError`."""
        return {each.name: each for each in self.measures}[name]

    def column(self, kind: Kind) -> str:
        """The column of this kind that is about all timed rows, such as the mean; raises `StopIteration`."""
        return next(each.name for each in self.measures if each.kind is kind and each.among is None)

    @property
    def total(self) -> str:
        """The column that counts all rows of a cell."""
        return next(each.name for each in self.measures if each.kind is Kind.COUNT and each.among is None)

    @property
    def timed(self) -> str:
        """The column that counts the timed rows of a cell."""
        return next(each.name for each in self.measures if each.kind is Kind.COUNT and each.among == TIMED)

    def definition(self, plan: RollupPlan | None = None) -> str:
        """What is computed, under another rollup plan than its own if one is given.

        Another text means that every cell is stale.
        """
        sets = " ".join(f"{period}={'+'.join(self._numbers(period, plan))}" for period in Period)
        shares = " ".join(f"{each.name}={each.share}" for each in self.measures if each.share is not None)
        columns = " ".join(self.cell_columns)
        return f"{self.rules}; masks {sets}; percentiles {shares}; columns {columns}"

    def _numbers(self, period: Period, plan: RollupPlan | None) -> list[str]:
        """A number for each grouping set, whose bits are the dimensions in order."""
        bits = {column: 1 << place for place, column in enumerate(self.dimension_columns)}
        return list(
            map(str, sorted(sum(bits[name] for name in each) for each in (plan or self.rollup)[period]))
        )
