"""Which stored cells a range of one tenant is made of, and as few of them as can be."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from pipelines.calendars.moments import DayOrTime, WallClock, instant_of, require_order
from pipelines.errors import InvalidRange, RangeNotStored
from pipelines.postgres.connections import Connection
from pipelines.query.tenant import Tenant, answering, rows
from pipelines.state.stored_cells import find_removed_before
from pipelines.subjects.rollup import GroupingSet, Period, RollupPlan
from pipelines.subjects.subject import WITH_HISTOGRAM

# The weeks and months of eighty years; nobody looks further for a way to add them up.
_MOST_BUCKETS: Final = 5_000

_LONGEST_FIRST: Final = (Period.MONTH, Period.WEEK, Period.DAY)

Instants = tuple[datetime, datetime]


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
        hours = ["whole UTC hours"] if Period.HOUR in self._periods else []
        longer = " and ".join(f"{each}s" for each in Period if each in self._periods - {Period.HOUR})
        of_the_zone = [f"whole {longer} of the organization's time zone"] if longer else []
        return ", ".join(hours + of_the_zone)


@dataclass(frozen=True)
class Sources:
    """What a range is added up from: the spans of cells, and those whose histograms tell the percentiles.

    One bucket has its percentiles itself (`exact`) and needs no histogram; without either nothing tells them.
    """

    spans: Sequence[Span]
    exact: bool = False
    histograms: Sequence[Span] = ()

    @property
    def values(self) -> dict[str, object]:
        """The same for a statement."""
        found: dict[str, object] = {}
        for row, spans in (("", self.spans), ("histogram_", self.histograms)):
            found[f"{row}periods"] = [span.period.value for span in spans]
            found[f"{row}since"] = [span.since for span in spans]
            found[f"{row}until"] = [span.until for span in spans]
        return found


class Ranges:
    """What is kept of one tenant's cells by a rollup plan. Raises `InvalidRange` and `RangeNotStored`."""

    def __init__(self, connection: Connection, tenant: Tenant, plan: RollupPlan) -> None:
        self._connection, self._tenant, self._plan = connection, tenant, plan

    def require_kept(self, period: Period, chosen: GroupingSet) -> None:
        """Raise `RangeNotStored` for what is not kept: that is not the same as nothing happened."""
        if chosen not in self._plan[period]:
            kept = ", ".join(f"{each}s" for each in Period if chosen in self._plan[each])
            raise RangeNotStored(f"(whole {kept})" if kept else "(nothing: these are not kept together)")

    def instants(self, since: DayOrTime, until: DayOrTime) -> Instants:
        """[since, until) as instants, by the tenant's clocks where they are none."""
        require_order(since, until)
        first, last = (instant_of(each) or self._clock.instant(each) for each in (since, until))
        return ordered(first, last)

    def kept(self, spans: Sequence[Span]) -> Sequence[Span]:
        """The same, unless retention has removed some of their cells, which would look like no jobs."""
        for span in spans:
            removed_before = self._removed_before.get(span.period)
            if removed_before and span.since < removed_before:
                raise RangeNotStored(
                    f"({span.period}s that began before {removed_before.isoformat()} are no longer kept)"
                )
        return spans

    def sources(self, chosen: GroupingSet, since: datetime, until: datetime) -> Sources:
        """What the range is added up from, in as few buckets as can be, and what tells its percentiles."""
        since, until = ordered(since, until)
        cover = self._cover(chosen, tuple(Period))
        bucket = cover.bucket_of(since, until)
        if bucket:
            return Sources(self.kept([Span(bucket, since, until)]), exact=True)
        spans = self.kept(cover.of(since, until))
        try:
            return Sources(spans, histograms=self.kept(self._cover(chosen, WITH_HISTOGRAM).of(since, until)))
        except RangeNotStored:
            # Counts and means are known all the same.
            return Sources(spans)

    def _cover(self, chosen: GroupingSet, among: Collection[Period]) -> Cover:
        return Cover(self._clock, [period for period in among if chosen in self._plan[period]])

    @cached_property
    def _clock(self) -> WallClock:
        values = {"organization_id": self._tenant.organization_id}
        offsets = rows(self._connection, "tenant_metrics/zone_offsets", values)
        return WallClock([(row["since"], row["offset_s"]) for row in offsets])

    @cached_property
    def _removed_before(self) -> Mapping[Period, datetime]:
        with answering():
            return find_removed_before(self._connection)


def ordered(since: datetime, until: datetime) -> Instants:
    """The two ends of a range; raises `InvalidRange`."""
    if since.tzinfo is None or until.tzinfo is None or since >= until:
        raise InvalidRange(f"({since.isoformat()} to {until.isoformat()})")
    return since, until
