"""What a cell measures: counts, a rate, and durations."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final


class Kind(StrEnum):
    """How a measure is computed from the rows of a cell."""

    COUNT = "count"
    RATE = "rate"
    SUM = "sum"
    MEAN = "mean"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    PERCENTILE = "percentile"


# The rows of a cell whose duration is valid: known and not negative.
TIMED: Final = "timed"

# Durations are counted in buckets whose borders grow by two percent; added up, they tell a percentile within
# one percent. The idea is DDSketch's (Masson, Rim and Lee, VLDB 2019, section 2.1), with whole microseconds.
# A value in the middle of a bucket is off by no more than (growth - 1) / (growth + 1) of the true one.
GROWTH: Final = Fraction(102, 100)
RELATIVE_ERROR: Final = float((GROWTH - 1) / (GROWTH + 1))

# No border is so small that a duration of nothing would be below it.
NO_DURATION: Final = -1

# From the shortest to the longest of two ends in the years 1 to 9999.
_LONGEST_US: Final = 10_000 * 366 * 86_400 * 1_000_000

# A cell of so few timed jobs is told by its shortest and longest.
TOLD_BY_EXTREMES: Final = 2


@dataclass(frozen=True)
class Measure:
    """One figure of a cell, and the column that holds it.

    `among` says which rows it is about: an outcome of the subject, or `TIMED`; None means all rows of the
    cell. Durations are always about timed rows. `share` is the rank of a percentile, as in PostgreSQL's
    `percentile_cont`: linear interpolation at rank (n - 1) * share.
    """

    name: str
    kind: Kind
    comment: str
    among: str | None = None
    share: float | None = None

    @property
    def is_additive(self) -> bool:
        """Whether rows of one period and of the same dimensions may be added up."""
        return self.kind in (Kind.COUNT, Kind.SUM)

    @property
    def is_duration(self) -> bool:
        """Whether it is about durations, in milliseconds."""
        return self.kind not in (Kind.COUNT, Kind.RATE)

    @property
    def nullable(self) -> bool:
        """Whether it is NULL when it is about no row."""
        return self.is_duration and self.kind is not Kind.SUM

    @property
    def unit(self) -> str:
        """What it counts or measures in; of a count, see the subject."""
        return {Kind.COUNT: "", Kind.RATE: "percent"}.get(self.kind, "milliseconds")


def durations(row: str) -> tuple[Measure, ...]:
    """How long the timed rows of a cell took; `row` is what a row is called, such as `job`."""
    untimed = f"NULL when no {row} is timed."
    percentiles = {"p90_duration_ms": 0.9, "p95_duration_ms": 0.95, "p99_duration_ms": 0.99}
    return (
        Measure(
            "total_duration_ms",
            Kind.SUM,
            f"Milliseconds that the timed {row}s took together; 0 when no {row} is timed.",
        ),
        Measure("average_duration_ms", Kind.MEAN, f"Mean duration in milliseconds; {untimed}"),
        Measure("min_duration_ms", Kind.MINIMUM, f"Shortest duration in milliseconds; {untimed}"),
        Measure("max_duration_ms", Kind.MAXIMUM, f"Longest duration in milliseconds; {untimed}"),
        Measure(
            "median_duration_ms",
            Kind.PERCENTILE,
            f"Median duration in milliseconds, interpolated like percentile_cont; {untimed}",
            share=0.5,
        ),
        *(
            Measure(
                name,
                Kind.PERCENTILE,
                f"Milliseconds within which {share:.0%} of the {row}s ended, interpolated; {untimed}".replace(
                    "%", " percent"
                ),
                share=share,
            )
            for name, share in percentiles.items()
        ),
    )


def borders_us() -> list[int]:
    """The longest duration of each bucket from number 0 on, in whole microseconds."""
    borders: list[int] = []
    border = Fraction(1)
    while not borders or borders[-1] < _LONGEST_US:
        borders.append(int(border))
        border *= GROWTH
    return borders


def middle_ms(bucket: int) -> float:
    """What durations in a bucket are taken for, in milliseconds."""
    if bucket == NO_DURATION:
        return 0.0
    growth = float(GROWTH)
    return 2 * growth**bucket / (1 + growth) / 1000
