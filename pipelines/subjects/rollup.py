"""The periods of cells, and which combinations of dimensions are stored for each: the product's main cost."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Final


class Period(StrEnum):
    """How long a bucket is: an hour in UTC; a day, a week of ISO 8601 or a month by local clocks."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


LOCAL_PERIODS: Final = (Period.DAY, Period.WEEK, Period.MONTH)

# Polars' names of the buckets; ISO weeks begin on Monday.
TRUNCATIONS: Final[dict[Period, str]] = {
    Period.HOUR: "1h",
    Period.DAY: "1d",
    Period.WEEK: "1w",
    Period.MONTH: "1mo",
}

# The columns by which a cell is broken down; a dimension that is left out is "all".
GroupingSet = frozenset[str]

RollupPlan = Mapping[Period, tuple[GroupingSet, ...]]

TOTAL: Final[GroupingSet] = frozenset()


def grouping_sets(columns: Sequence[str], most: int) -> tuple[GroupingSet, ...]:
    """Every combination of at most so many of these columns, fewest first."""
    return tuple(frozenset(chosen) for size in range(most + 1) for chosen in combinations(columns, size))


def rollup_plan(columns: Sequence[str], depths: Mapping[Period, int]) -> RollupPlan:
    """For each period every combination of at most so many of these columns."""
    return {period: grouping_sets(columns, depths[period]) for period in Period}
