"""Which stored cells a range of one tenant is made of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from pipelines.calendars.moments import DayOrTime, WallClock, instant_of, require_order
from pipelines.errors import InvalidRange, RangeNotStored
from pipelines.postgres.connections import Connection
from pipelines.query.cover import Cover, Span
from pipelines.query.tenant import Tenant, answering, rows
from pipelines.state.retention import find_removed_before
from pipelines.subjects.rollup import GroupingSet, Period, RollupPlan
from pipelines.subjects.subject import WITH_HISTOGRAM

Instants = tuple[datetime, datetime]


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
