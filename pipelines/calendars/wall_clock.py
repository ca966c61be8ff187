"""The clocks on one organization's wall, for a moment at a time: what `Calendar` says of many rows."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pipelines.calendars.moments import DayOrTime, clock_time, instant_of
from pipelines.subjects.rollup import Period

_DAY = timedelta(days=1)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class WallClock:
    """Hours are UTC, what is longer goes by the clocks; a bucket is named after the instant it begins."""

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
