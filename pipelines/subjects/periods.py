"""The calendar buckets in which jobs are counted: hours in UTC, what is longer by local clocks."""

from enum import StrEnum


class Period(StrEnum):
    """How long a bucket is; a week is ISO's and starts on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
