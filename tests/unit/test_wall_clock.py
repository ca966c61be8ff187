"""One wall's clocks say of a moment what the calendar of all organizations says, and what Python says."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.calendars.calendar import OFFSET_COLUMNS, Calendar
from pipelines.calendars.moments import WallClock
from pipelines.subjects.rollup import Period
from tests.support.oracle import bucket
from tests.support.zone_offsets import FIRST, offsets_of

TENANT = UUID(int=7)

# Havana's and Beirut's clocks change at midnight, Lord Howe's by half an hour.
ZONES = ["UTC", "America/New_York", "America/Havana", "Asia/Beirut", "Asia/Kolkata"]
ZONES += ["Australia/Lord_Howe", "Pacific/Chatham"]

moments = st.integers(0, 7 * 365 * 24 * 60).map(lambda minutes: FIRST + timedelta(minutes=minutes))


@given(moments, st.sampled_from(ZONES), st.sampled_from(Period))
def test_a_bucket_begins_and_ends_where_it_does_for_everybody(
    moment: datetime, zone: str, period: Period
) -> None:
    """Whatever the clocks did in between; the next bucket begins where this one ends."""
    clock, calendar = WALLS[zone]
    columns = {"organization_id": pl.Binary, "completed_at": pl.Datetime("us", "UTC")}
    asked = pl.DataFrame([(TENANT.bytes, moment)], schema=columns, orient="row")
    buckets = asked.with_columns(calendar.period_start(period)).with_columns(calendar.period_end(period))

    start = clock.start(period, moment)
    end = clock.end(period, start)

    assert (start, end) == buckets.select("period_start", "period_end").row(0)
    assert start == bucket(moment, period.value, zone)
    assert start <= moment < end or zone in ("America/Havana", "Asia/Beirut")
    assert clock.start(period, end) == end


@pytest.mark.parametrize("zone", ["America/Havana", "Asia/Beirut"])
def test_clocks_that_change_at_midnight_skip_or_repeat_it(zone: str) -> None:
    """Around each change of a year, minute by minute, as Python's own rules have it."""
    clock, _ = WALLS[zone]
    changes = [since for since, _ in offsets_of(zone) if since.year == 2023]

    assert len(changes) == 2
    for change in changes:
        for minutes in range(-130, 131):
            moment = change + timedelta(minutes=minutes)
            assert clock.start(Period.DAY, moment) == bucket(moment, "day", zone), moment


@given(moments, st.sampled_from(ZONES))
def test_what_has_no_offset_goes_by_the_clocks(moment: datetime, zone: str) -> None:
    """A date is where its day begins, a time what the clocks show, as PostgreSQL has it; an instant stays."""
    clock, _ = WALLS[zone]
    shown = moment.replace(tzinfo=None)
    day = shown.date()

    midnight = clock.instant(day)

    assert clock.instant(shown) == by_python(shown, zone)
    assert midnight == clock.instant(datetime.combine(day, time())) == clock.start(Period.DAY, midnight)
    assert clock.end(Period.DAY, midnight) == clock.instant(day + timedelta(days=1))
    assert clock.instant(moment) == clock.instant(moment.astimezone(ZoneInfo(zone))) == moment


def test_the_ends_of_the_calendar_are_the_ends_of_time() -> None:
    """Where the clocks are ahead, the first day has begun before any instant that can be written."""
    ahead, behind = (WallClock([(FIRST, hours * 3600)]) for hours in (14, -12))

    assert ahead.instant(date.min) == datetime.min.replace(tzinfo=UTC)
    last_hour = datetime.max.replace(minute=0)  # noqa: DTZ901
    assert behind.instant(last_hour) == datetime.max.replace(tzinfo=UTC)
    assert ahead.instant(date(1, 1, 3)) == datetime(1, 1, 2, 10, tzinfo=UTC)


def by_python(shown: datetime, zone: str) -> datetime:
    """When the clocks show a time: the second time if they do so twice, by the offset before if never."""
    first, second = (shown.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    return max(first, second)


def calendar_of(zone: str) -> Calendar:
    """The calendar in which the tenant lives there."""
    offsets = offsets_of(zone)
    if not offsets:
        return Calendar.utc()
    zones = pl.DataFrame({"organization_id": [TENANT.bytes], "time_zone": [zone]})
    rows = [(zone, *rule) for rule in offsets]
    return Calendar(zones, pl.DataFrame(rows, schema=OFFSET_COLUMNS, orient="row"))


WALLS = {zone: (WallClock(offsets_of(zone)), calendar_of(zone)) for zone in ZONES}
