"""Buckets of durations: whole, in order, and never further off than they say."""

import math
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.calendars.calendar import Calendar
from pipelines.compute.cells import NumberedRows
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.measures import NO_DURATION, RELATIVE_ERROR, borders_us, middle_ms
from tests.support.fact_changes import change, frame
from tests.support.planting import NOON

durations_us = st.integers(0, 10_000 * 366 * 86_400 * 1_000_000)


@given(st.lists(durations_us, min_size=1, max_size=20))
def test_a_duration_is_taken_for_one_that_is_close(durations: list[int]) -> None:
    """The middle of its bucket is off by one percent at most, from a microsecond to ten thousand years."""
    for duration, bucket in zip(durations, buckets_of(durations), strict=True):
        assert middle_ms(bucket) == pytest.approx(duration / 1000, rel=RELATIVE_ERROR + 1e-12, abs=0)


def test_borders_are_where_the_logarithm_says() -> None:
    """Bucket b holds what is longer than 1.02^(b - 1) microseconds and no longer than 1.02^b."""
    chance = Random(1)
    durations = [int(10 ** chance.uniform(0, 15)) for _ in range(2_000)]

    found = buckets_of(durations)

    assert found == [math.ceil(math.log(duration) / math.log(1.02)) for duration in durations]
    assert (buckets_of([0, 1, 2]), RELATIVE_ERROR) == ([NO_DURATION, 0, 36], pytest.approx(0.02 / 2.02))
    assert borders_us() == sorted(borders_us())


def test_a_negative_duration_is_in_no_bucket() -> None:
    """Nor is it timed."""
    assert buckets_of([-1]) == [None]


def buckets_of(durations: list[int]) -> list[int | None]:
    """The number of each one's bucket, as the engine finds it."""
    jobs = frame(*(change(number) for number in range(len(durations)))).with_columns(
        started_at=pl.lit(NOON), completed_at=pl.lit(NOON) + pl.duration(microseconds=pl.Series(durations))
    )
    return NumberedRows.of(jobs, Calendar.utc(), JOBS).frame["duration_bucket"].to_list()
