"""A range is made of few stored buckets that follow each other without a gap, or is refused."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.calendars.moments import WallClock
from pipelines.errors import RangeNotStored
from pipelines.query.ranges import Cover, Span
from pipelines.subjects.rollup import Period
from tests.support.oracle import bucket
from tests.support.zone_offsets import offsets_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
NEW_YORK, KOLKATA = "America/New_York", "Asia/Kolkata"

moments = st.integers(0, 24 * 400).map(lambda hours: JANUARY + hours * HOUR)


@given(st.tuples(moments, moments), st.sampled_from(["UTC", NEW_YORK, KOLKATA]))
def test_hours_days_weeks_and_months_make_up_any_hours(range_: tuple[datetime, datetime], zone: str) -> None:
    """Each span begins where the last ended, at borders of its period, and a long range takes few buckets."""
    since, until = sorted(range_)
    if since == until:
        return

    spans = cover(zone).of(since, until)

    assert (spans[0].since, spans[-1].until) == (since, until)
    assert all(before.until == after.since for before, after in pairwise(spans))
    for span in spans:
        for moment in (span.since, span.until):
            assert bucket(moment, span.period.value, zone) == moment
    if zone != KOLKATA and until - since > 70 * DAY:
        assert Period.MONTH in {span.period for span in spans}
        hours = [span.until - span.since for span in spans if span.period is Period.HOUR]
        assert sum(hours, timedelta()) < 50 * HOUR


def test_the_longest_come_first() -> None:
    """Months whole, weeks whole beside them, then days, and hours at the ends alone."""
    borders = ((1, 13, 22), (1, 14), (1, 15), (1, 29), (2, 1), (3, 1), (3, 5), (3, 5, 1))
    moments = [at(NEW_YORK, 2024, *border) for border in borders]

    spans = cover(NEW_YORK).of(moments[0], moments[-1])

    assert [(span.since, span.until) for span in spans] == list(pairwise(moments))
    periods = [span.period.value for span in spans]
    assert periods == ["hour", "day", "week", "day", "month", "day", "hour"]


def test_where_days_begin_between_hours_either_will_do() -> None:
    """Whole hours are added up as hours, whole local days as days; a mixture is nothing that is stored."""
    kolkata = cover(KOLKATA)
    day = at(KOLKATA, 2024, 2, 5)

    assert kolkata.of(day, day + 3 * DAY) == (Span(Period.DAY, day, day + 3 * DAY),)
    assert kolkata.of(JANUARY, JANUARY + 40 * DAY) == (Span(Period.HOUR, JANUARY, JANUARY + 40 * DAY),)
    with pytest.raises(RangeNotStored):
        kolkata.of(day, JANUARY + 60 * DAY)


@pytest.mark.parametrize(
    ("periods", "since", "until", "expected"),
    [
        # Pairs of dimensions are kept per day and longer.
        (("day", "week", "month"), "2024-02-05", "2024-02-08", "day"),
        (("day", "week", "month"), "2024-02-05T01:00", "2024-02-08", None),
        # All three per week and month.
        (("week", "month"), "2024-02-05", "2024-02-19", "week"),
        (("week", "month"), "2024-02-01", "2024-04-01", "month"),
        # A month from Monday to Sunday is four weeks, and February ends on a Thursday.
        (("week", "month"), "2024-01-01", "2024-02-05", "week"),
        (("week", "month"), "2024-02-05", "2024-02-08", None),
        # Weeks up to the first of a month that is a Monday, and months from there on.
        (("week", "month"), "2024-03-11", "2024-06-01", "week month"),
        (("week", "month"), "2024-03-12", "2024-06-01", None),
    ],
)
def test_what_is_kept_decides_what_can_be_asked(
    periods: tuple[str, ...], since: str, until: str, expected: str | None
) -> None:
    """Of several ways to make a range up any that works is taken, and what has none is refused."""
    mine = Cover(WallClock(), [Period(period) for period in periods])
    begin, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, until))
    if expected is None:
        with pytest.raises(RangeNotStored, match="of the organization's time zone"):
            mine.of(begin, end)
        return

    spans = mine.of(begin, end)

    assert {span.period.value for span in spans} == set(expected.split())
    assert (spans[0].since, spans[-1].until) == (begin, end)
    assert all(before.until == after.since for before, after in pairwise(spans))


@pytest.mark.parametrize(
    ("since", "until"),
    [
        # Hours up to the day on which clocks are set back at one to midnight, and from that day on.
        (datetime(2024, 11, 2, 12, tzinfo=UTC), datetime(2024, 11, 5, 5, tzinfo=UTC)),
        (datetime(2024, 11, 1, 4, tzinfo=UTC), datetime(2024, 11, 3, 8, tzinfo=UTC)),
        # One of the two hours before a midnight that comes twice.
        (datetime(2024, 11, 1, 4, tzinfo=UTC), datetime(2024, 11, 3, 4, tzinfo=UTC)),
    ],
)
def test_a_midnight_that_comes_twice_has_each_hour_once(since: datetime, until: datetime) -> None:
    """The day is named after the second one and holds the hour between them, too."""
    havana = "America/Havana"
    hours = [since - 3 * DAY + number * HOUR for number in range(9 * 24)]

    spans = cover(havana).of(since, until)

    starts = [(hour, span, bucket(hour, span.period.value, havana)) for span in spans for hour in hours]
    counted = [hour for hour, span, start in starts if span.since <= start < span.until]
    assert sorted(counted) == [hour for hour in hours if since <= hour < until]


def test_a_range_without_end_is_given_up() -> None:
    """Nobody else should wait while weeks and months are looked through to the end of all time."""
    steps = 0

    class Counting(WallClock):
        def end(self, period: Period, start: datetime) -> datetime:
            nonlocal steps
            steps += 1
            return super().end(period, start)

    first, last = datetime(2, 1, 7, tzinfo=UTC), datetime(9997, 12, 30, tzinfo=UTC)
    with pytest.raises(RangeNotStored):
        Cover(Counting(), [Period.WEEK, Period.MONTH]).of(first, last)

    assert steps < 20_000


def test_one_bucket_is_recognized() -> None:
    """Whatever its period; a range of two is none."""
    mine = cover(NEW_YORK)
    first, monday, sunday, after, april = (
        at(NEW_YORK, 2024, *day) for day in ((3, 1), (3, 4), (3, 10), (3, 11), (4, 1))
    )
    ranges = ((JANUARY, JANUARY + HOUR), (sunday, after), (monday, after), (first, april))

    assert [mine.bucket_of(*each) for each in ranges] == list(Period)
    assert mine.bucket_of(JANUARY, JANUARY + 2 * HOUR) is None
    assert mine.bucket_of(JANUARY, JANUARY + DAY) is None


def cover(zone: str) -> Cover:
    """The buckets of a tenant of that zone, with Python's own rules of it."""
    return Cover(WallClock(offsets_of(zone)), tuple(Period))


def at(zone: str, *parts: int) -> datetime:
    """A local time as an instant."""
    return datetime(*parts, tzinfo=ZoneInfo(zone)).astimezone(UTC)
