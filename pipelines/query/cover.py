"""Which stored buckets make up a range, and as few of them as can be."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pipelines.calendars.moments import WallClock
from pipelines.errors import RangeNotStored
from pipelines.subjects.rollup import Period

# The weeks and months of eighty years; nobody looks further for a way to add them up.
_MOST_BUCKETS: Final = 5_000

_LONGEST_FIRST: Final = (Period.MONTH, Period.WEEK, Period.DAY)


@dataclass(frozen=True)
class Span:
    """Every bucket of a period that begins in [since, until)."""

    period: Period
    since: datetime
    until: datetime


class Cover:
    """The buckets of one organization, of the periods in which it keeps what is asked for."""

    def __init__(self, clock: WallClock, periods: Collection[Period]) -> None:
        self._clock, self._periods = clock, frozenset(periods)

    def bucket_of(self, since: datetime, until: datetime) -> Period | None:
        """The period that has exactly this range as one bucket, if any has."""
        for period in Period:
            begins = period in self._periods and self._clock.start(period, since) == since
            if begins and self._clock.end(period, since) == until:
                return period
        return None

    def of(self, since: datetime, until: datetime) -> tuple[Span, ...]:
        """Spans that follow each other from `since` to `until`. Raises `RangeNotStored` if nothing fits."""
        spans = self._tiled(since, until)
        if spans is None:
            raise RangeNotStored(f"({self._stored()})")
        return tuple(spans)

    def _tiled(self, since: datetime, until: datetime) -> list[Span] | None:
        days = self._days_within(since, until)
        if days is None:
            return self._of_hours(since, until)
        between = self._of_days(*days)
        head = [] if since == days[0] else self._of_hours(since, self._first_instant(days[0]))
        tail = [] if until == days[1] else self._of_hours(self._first_instant(days[1]), until)
        if head is None or tail is None or between is None:
            # Where days begin between two hours, hours alone may do.
            return self._of_hours(since, until)
        return [*head, *between, *tail]

    def _days_within(self, since: datetime, until: datetime) -> tuple[datetime, datetime] | None:
        first, last = self._ceil(Period.DAY, since), self._clock.start(Period.DAY, until)
        return (first, last) if first < last else None

    def _first_instant(self, day: datetime) -> datetime:
        """From when on a day has its hours: one whose midnight comes twice is named after the second."""
        before = day - timedelta(hours=1)
        return before if self._clock.start(Period.DAY, before) == day else day

    def _of_days(self, since: datetime, until: datetime) -> list[Span] | None:
        """Local midnights made up of days and longer periods."""
        kept = [period for period in _LONGEST_FIRST if period in self._periods]
        # What longer periods leave over, days fill. Without them, what one leaves may be another's.
        if Period.DAY in kept:
            return self._longest_first(since, until, kept)
        return self._fewest(since, until, kept)

    def _longest_first(self, since: datetime, until: datetime, periods: Sequence[Period]) -> list[Span]:
        """Tiled by the longest of these periods, and what is left by shorter ones; the last one fits."""
        if since == until:
            return []
        period, *shorter = periods
        first, last = self._ceil(period, since), self._clock.start(period, until)
        if first >= last:
            return self._longest_first(since, until, shorter)
        head, tail = self._longest_first(since, first, shorter), self._longest_first(last, until, shorter)
        return [*head, Span(period, first, last), *tail]

    def _fewest(self, since: datetime, until: datetime, periods: Sequence[Period]) -> list[Span] | None:
        """The shortest way from one border to the next, over as few buckets as there are any."""
        came: dict[datetime, Span | None] = {since: None}
        for at in (walk := [since]):
            if len(walk) > _MOST_BUCKETS:
                return None
            for period in periods:
                end = self._clock.end(period, at)
                if self._clock.start(period, at) == at and end <= until and end not in came:
                    came[end] = Span(period, at, end)
                    walk.append(end)
        spans: list[Span] = []
        last = came.get(until)
        while last:
            spans.append(last)
            last = came[last.since]
        return spans[::-1] if until in came else None

    def _of_hours(self, since: datetime, until: datetime) -> list[Span] | None:
        if since == until:
            return []
        whole = all(self._clock.start(Period.HOUR, moment) == moment for moment in (since, until))
        return [Span(Period.HOUR, since, until)] if whole and Period.HOUR in self._periods else None

    def _ceil(self, period: Period, moment: datetime) -> datetime:
        start = self._clock.start(period, moment)
        return moment if start == moment else self._clock.end(period, start)

    def _stored(self) -> str:
        return ", ".join(self._words())

    def _words(self) -> Iterator[str]:
        if Period.HOUR in self._periods:
            yield "whole UTC hours"
        longer = [period for period in Period if period in self._periods and period is not Period.HOUR]
        if longer:
            yield f"whole {' and '.join(f'{period}s' for period in longer)} of the organization's time zone"
