"""How a moment is written, and what it means by the clocks on one organization's wall."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from pipelines.errors import InvalidRange
from pipelines.subjects.rollup import Period

# A date is a day of the organization's calendar, a naive datetime what the organization's clocks show, and
# any other datetime an instant. Typer takes no union of them, and every datetime is a date.
DayOrTime = date

# What a help or a description says of it.
MOMENT: Final = "a date or a time by the organization's clocks, or a time with its offset"

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)

_DAY = timedelta(days=1)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def read_moment(text: str) -> DayOrTime | None:
    """A date as a date, a time with an offset as its instant in UTC, a time without one as a naive time.

    None for anything else.
    """
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if _TIME.fullmatch(text):
            read = datetime.fromisoformat(text.upper())
            return read.astimezone(UTC) if read.tzinfo else read
    except (ValueError, OverflowError):
        pass
    return None


def instant_of(moment: DayOrTime) -> datetime | None:
    """The instant that a moment is for every organization; None when it goes by the clocks of one."""
    return moment if isinstance(moment, datetime) and moment.tzinfo else None


def clock_time(moment: DayOrTime) -> datetime:
    """What the clocks show at a moment: the midnight that a date begins with, a time as it is written."""
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time())


def require_order(since: DayOrTime | None, until: DayOrTime | None) -> None:
    """Refuse a range that is empty or backwards for everybody; raises `InvalidRange`.

    A range that goes by the clocks at one end alone can be told only for an organization.
    """
    if since is None or until is None:
        return
    first, last = clock_time(since), clock_time(until)
    if (first.tzinfo is None) == (last.tzinfo is None) and first >= last:
        raise InvalidRange(f"({since.isoformat()} is not before {until.isoformat()})")


class WallClock:
    """The clocks of one organization, for a moment at a time: what `Calendar` says of many rows.

    Hours are UTC, what is longer goes by the clocks; a bucket is named after the instant it begins.
    """

    def __init__(self, offsets: Sequence[tuple[datetime, int]] = ()) -> None:
        """`offsets` says since when the clocks are so many seconds ahead of UTC, in the order of time.

        The first holds for whatever was before, too, and the last for whatever comes; without any it is UTC.
        """
        begun = [since.astimezone(UTC).replace(tzinfo=None) for since, _ in offsets]
        self._shifts = [timedelta(seconds=offset_s) for _, offset_s in offsets] or [timedelta()]
        self._begun = begun[1:]
        self._begun_by_clock = [at + shift for at, shift in zip(begun, self._shifts, strict=False)][1:]

    def instant(self, moment: DayOrTime) -> datetime:
        """The instant that a moment means here: a date its midnight, a time without offset what clocks show.

        A time that the clocks skip is read by the offset before, one that comes twice by the offset after,
        as `period_start` is. Before the first instant that can be written comes that one, and likewise after
        the last.
        """
        if known := instant_of(moment):
            return known
        shown = clock_time(moment)
        try:
            return self._instant(shown)
        except OverflowError:
            return _FIRST if shown.year == 1 else _LAST

    def start(self, period: Period, moment: datetime) -> datetime:
        """When the bucket begins that a moment is in."""
        utc = moment.astimezone(UTC)
        if period is Period.HOUR:
            return utc.replace(minute=0, second=0, microsecond=0)
        return self._instant(self._midnight(period, utc))

    def end(self, period: Period, start: datetime) -> datetime:
        """When the bucket ends that begins then."""
        utc = start.astimezone(UTC)
        if period is Period.HOUR:
            return utc + timedelta(hours=1)
        midnight = self._midnight(period, utc)
        if period is Period.MONTH:
            # Every month ends within 31 days, and none within 28.
            return self._instant((midnight + 31 * _DAY).replace(day=1))
        return self._instant(midnight + (7 * _DAY if period is Period.WEEK else _DAY))

    def _midnight(self, period: Period, utc: datetime) -> datetime:
        """What the clocks showed at the beginning of the day, week or month."""
        moment = utc.replace(tzinfo=None)
        clocks = moment + self._shifts[bisect_right(self._begun, moment)]
        midnight = clocks.replace(hour=0, minute=0, second=0, microsecond=0)
        if period is Period.WEEK:
            return midnight - midnight.weekday() * _DAY
        return midnight.replace(day=1) if period is Period.MONTH else midnight

    def _instant(self, midnight: datetime) -> datetime:
        """When the clocks show it, by the last offset that had begun by the clock it sets."""
        return (midnight - self._shifts[bisect_right(self._begun_by_clock, midnight)]).replace(tzinfo=UTC)
