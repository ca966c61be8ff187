"""Durations in buckets whose borders grow by two percent: added up, they tell any percentile to one percent.

The idea is DDSketch's (Masson, Rim and Lee, VLDB 2019, section 2.1), with borders on whole microseconds.
"""

from fractions import Fraction
from typing import Final

# A value in the middle of a bucket is off by no more than (growth - 1) / (growth + 1) of the true one.
GROWTH: Final = Fraction(102, 100)
RELATIVE_ERROR: Final = float((GROWTH - 1) / (GROWTH + 1))

# No border is so small that a duration of nothing would be below it.
NO_DURATION: Final = -1

# From the shortest to the longest of two ends in the years 1 to 9999.
_LONGEST_US: Final = 10_000 * 366 * 86_400 * 1_000_000

# A cell of so few timed jobs is told by its shortest and longest.
TOLD_BY_EXTREMES: Final = 2


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
