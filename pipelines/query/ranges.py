"""Which stored cells a range of one tenant is made of."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property

from pipelines.calendars.moments import DayOrTime, WallClock, instant_of, require_order
from pipelines.errors import InvalidRange, RangeNotStored
from pipelines.postgres.connections import Connection
from pipelines.query.cover import Cover, Span
from pipelines.query.figures import Sources
from pipelines.query.tenant import Row, Tenant, answering, rows
from pipelines.state.retention import find_removed_before
from pipelines.subjects.rollup import GroupingSet, Period, RollupPlan
from pipelines.subjects.subject import WITH_HISTOGRAM

Instants = tuple[datetime, datetime]


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

    @cached_property
    def _clock(self) -> WallClock:
        return WallClock([(row["since"], row["offset_s"]) for row in self._zone_offsets()])

    @cached_property
    def _removed_before(self) -> Mapping[Period, datetime]:
        with answering():
            return find_removed_before(self._connection)

    def spans(
        self,
        chosen: GroupingSet,
        since: datetime,
        until: datetime,
        *,
        among: Collection[Period] = tuple(Period),
    ) -> Sequence[Span]:
        """The fewest stored buckets that make up the range."""
        return self.kept(self._cover(chosen, among=among).of(since, until))

    def kept(self, spans: Sequence[Span]) -> Sequence[Span]:
        """The same, unless retention has removed some of their cells, which would look like no jobs."""
        for span in spans:
            removed_before = self._removed_before.get(span.period)
            if removed_before and span.since < removed_before:
                raise RangeNotStored(
                    f"({span.period}s that began before {removed_before.isoformat()} are no longer kept)"
                )
        return spans

    def _cover(self, chosen: GroupingSet, *, among: Collection[Period] = tuple(Period)) -> Cover:
        periods = [period for period in among if chosen in self._plan[period]]
        return Cover(self._clock, periods)

    def sources(self, chosen: GroupingSet, since: datetime, until: datetime) -> Sources:
        """What the range is added up from, and what tells its percentiles."""
        since, until = ordered(since, until)
        bucket = self._cover(chosen).bucket_of(since, until)
        if bucket:
            return Sources(self.kept([Span(bucket, since, until)]), exact=True)
        spans = self.spans(chosen, since, until)
        try:
            return Sources(spans, histograms=self.spans(chosen, since, until, among=WITH_HISTOGRAM))
        except RangeNotStored:
            # Counts and means are known all the same.
            return Sources(spans)

    def _zone_offsets(self) -> list[Row]:
        values = {"organization_id": self._tenant.organization_id}
        return rows(self._connection, "tenant_metrics/zone_offsets", values)


def ordered(since: datetime, until: datetime) -> Instants:
    """The two ends of a range; raises `InvalidRange`."""
    if since.tzinfo is None or until.tzinfo is None or since >= until:
        raise InvalidRange(f"({since.isoformat()} to {until.isoformat()})")
    return since, until
