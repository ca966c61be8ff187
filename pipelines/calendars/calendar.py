"""Where days, weeks and months of each organization begin by offsets the source told; and ranges in dates."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.calendars.moments import DayOrTime, WallClock, require_order
from pipelines.frames import of_organizations
from pipelines.subjects.rollup import TRUNCATIONS, Period

ZONE_COLUMNS: Final[dict[str, pl.DataType]] = {"organization_id": pl.Binary(), "time_zone": pl.String()}
OFFSET_COLUMNS: Final[dict[str, pl.DataType]] = {
    "time_zone": pl.String(),
    "since": pl.Datetime("us", "UTC"),
    "offset_s": pl.Int32(),
}

# A second of a zone is one whole number, this times the zone's own plus the second of the epoch, which
# stays below half of it until the year 9999: so one sorted series answers for all zones at once.
_ZONE: Final = 10**12
_EVER_SINCE: Final = -(_ZONE // 2)

_UTC: Final = 0
_SPAN_COLUMNS: Final = {
    "time_zone": pl.String(),
    "zone": pl.Int64(),
    "since_s": pl.Int64(),
    "shift_s": pl.Int64(),
}
_INSTANT: Final = pl.Datetime("us", "UTC")
_SECOND_US: Final = 1_000_000
_HOUR_S: Final = 3600

# [since, until); an end that is None is open.
Instants = tuple[datetime | None, datetime | None]


class Calendar:
    """The buckets of organizations: hours are UTC, what is longer goes by the clocks of their own zone.

    A bucket is named after the instant of its local midnight, just as PostgreSQL's
    `date_trunc(field, timestamptz, zone)` does it: a midnight that the clocks skip is read by the offset
    before, one that comes twice by the offset after. So where clocks go back to midnight, the hour that
    comes twice belongs to a day that is named after its end.
    """

    def __init__(self, zones: pl.DataFrame, offsets: pl.DataFrame) -> None:
        """`zones` (ZONE_COLUMNS) has the zone of each organization; others are in UTC.

        `offsets` (OFFSET_COLUMNS) says since when which one holds in each of these zones; the first holds
        for whatever was before, too, and the last for whatever comes.
        """
        without = set(zones["time_zone"]) - set(offsets["time_zone"])
        if without:
            raise ValueError(f"no offsets of {', '.join(sorted(without))}")
        self._zones, self._offsets = zones, offsets

    @cached_property
    def _spans(self) -> pl.DataFrame:
        """Made when it is needed, which is not where nothing is computed."""
        return _spans(self._zones, self._offsets)

    @cached_property
    def _abroad(self) -> pl.DataFrame:
        """The organizations with a zone that is not UTC, and its number: `organization_id, zone`."""
        numbers = self._spans.select("time_zone", "zone").unique()
        return self._zones.join(numbers, on="time_zone")

    @property
    def has_whole_hours(self) -> bool:
        """Whether no bucket begins within an hour of UTC."""
        return self._spans.filter(
            (pl.col("shift_s") % _HOUR_S != 0)
            | ((pl.col("since_s") % _HOUR_S != 0) & (pl.col("since_s") != _EVER_SINCE))
        ).is_empty()

    @classmethod
    def utc(cls) -> "Calendar":
        """The calendar of organizations that all live in UTC."""
        return cls(pl.DataFrame(schema=ZONE_COLUMNS), pl.DataFrame(schema=OFFSET_COLUMNS))

    def period_start(self, period: Period) -> pl.Expr:
        """`period_start`, the start of the bucket a job is in, from `organization_id` and `completed_at`."""
        each = TRUNCATIONS[period]
        if period is Period.HOUR or self._abroad.is_empty():
            return pl.col("completed_at").dt.truncate(each).alias("period_start")

        def start(organization_ids: pl.Series, moments: pl.Series) -> pl.Series:
            zones = self._zones_of(organization_ids)
            return self._instants(zones, self._clocks(zones, moments).dt.truncate(each))

        return _row_by_row(start, "completed_at").alias("period_start")

    def period_end(self, period: Period) -> pl.Expr:
        """`period_end`, the start of the next bucket, from `organization_id` and `period_start`."""
        each = TRUNCATIONS[period]
        if period is Period.HOUR or self._abroad.is_empty():
            return pl.col("period_start").dt.offset_by(each).alias("period_end")

        def end(organization_ids: pl.Series, starts: pl.Series) -> pl.Series:
            zones = self._zones_of(organization_ids)
            return self._instants(zones, self._clocks(zones, starts).dt.truncate(each).dt.offset_by(each))

        return _row_by_row(end, "period_start").alias("period_end")

    def _zones_of(self, organization_ids: pl.Series) -> pl.Series:
        return organization_ids.replace_strict(
            self._abroad["organization_id"], self._abroad["zone"], default=_UTC, return_dtype=pl.Int64
        )

    def _clocks(self, zones: pl.Series, instants: pl.Series) -> pl.Series:
        """What the clocks on the wall show."""
        us = instants.to_physical()
        return (us + self._shifts(self._spans["since_s"], zones, us)).cast(pl.Datetime("us"))

    def _instants(self, zones: pl.Series, midnights: pl.Series) -> pl.Series:
        """When the clocks show these midnights, by the last offset that had begun by the clock it sets."""
        us = midnights.to_physical()
        by_clock = self._spans["since_s"] + self._spans["shift_s"]
        return (us - self._shifts(by_clock, zones, us)).cast(_INSTANT)

    def _shifts(self, since_s: pl.Series, zones: pl.Series, us: pl.Series) -> pl.Series:
        """What the clocks of zones differ from UTC at these times, by when each offset begins."""
        begun = self._spans["zone"] * _ZONE + since_s
        places = begun.search_sorted(zones * _ZONE + us // _SECOND_US, side="right")
        return self._spans["shift_s"].gather(places - 1) * _SECOND_US


def _spans(zones: pl.DataFrame, offsets: pl.DataFrame) -> pl.DataFrame:
    """How long each offset holds in each zone that anybody lives in: `time_zone, zone, since_s, shift_s`.

    Zones are numbered from 1. All that never differ from UTC are zone 0, which has no name.
    """
    utc = pl.DataFrame(
        {"time_zone": [None], "zone": [_UTC], "since_s": [_EVER_SINCE], "shift_s": [0]}, _SPAN_COLUMNS
    )
    if not (offsets["offset_s"] != 0).any():
        return utc
    is_first = pl.int_range(pl.len()).over("time_zone") == 0
    since_s = pl.col("since").to_physical() // _SECOND_US
    spans = (
        offsets.filter(
            pl.col("time_zone").is_in(zones["time_zone"].unique().implode()),
            (pl.col("offset_s") != 0).any().over("time_zone"),
        )
        .sort("time_zone", "since")
        .select(
            "time_zone",
            zone=pl.col("time_zone").rle_id().cast(pl.Int64) + 1,
            since_s=pl.when(is_first).then(_EVER_SINCE).otherwise(since_s),
            shift_s=pl.col("offset_s").cast(pl.Int64),
        )
    )
    return pl.concat([utc, spans])


def _row_by_row(of: Callable[[pl.Series, pl.Series], pl.Series], column: str) -> pl.Expr:
    """Where a row is looked up does not depend on its neighbours; said so, a stream need not be collected."""

    def answer(rows: pl.Series) -> pl.Series:
        return of(rows.struct.field("organization_id"), rows.struct.field(column))

    return pl.struct("organization_id", column).map_batches(
        answer, return_dtype=_INSTANT, is_elementwise=True
    )


@dataclass(frozen=True)
class LocalRange:
    """[since, until) covers the ranges of all organizations; `own` has the ranges that are narrower.

    Dates begin elsewhere for the organizations in `own`. An end that is None is open.
    """

    since: datetime | None = None
    until: datetime | None = None
    own: Mapping[UUID, Instants] = field(default_factory=dict)

    def of(self, organization_id: UUID) -> Instants:
        """The range of one organization."""
        return self.own.get(organization_id, (self.since, self.until))

    def groups(self, organization_ids: Collection[UUID]) -> Iterator[tuple[Instants, list[UUID]]]:
        """Yield each range with those of these organizations that it is meant for."""
        groups: dict[Instants, list[UUID]] = {}
        for key in organization_ids:
            groups.setdefault(self.of(key), []).append(key)
        yield from groups.items()

    def holds(self) -> pl.Expr:
        """Whether `completed_at` lies in the range of `organization_id`."""
        inside = between(self.since, self.until)
        for instants, ids in self.groups(self.own):
            inside &= ~of_organizations(ids) | between(*instants)
        return inside

    def settings(self, prefix: str) -> dict[str, str]:
        """What a statement takes: `…_since` and `…_until`, infinite where they are open, and `…_own`.

        The last has the narrower ranges: they are a JSON array of {organization_id, since, until}.
        """
        own = [{"organization_id": str(key), **_written(*instants)} for key, instants in self.own.items()]
        ends = {f"{prefix}_{name}": end for name, end in _written(self.since, self.until).items()}
        return {**ends, f"{prefix}_own": json.dumps(own)}


def local_range(
    since: DayOrTime | None, until: DayOrTime | None, clocks: Mapping[UUID, WallClock]
) -> LocalRange:
    """The range for each organization by its clocks, and in UTC without any organization.

    Raises `InvalidRange` when it is empty or backwards for one of them.
    """
    every = {key: _instants(since, until, clock) for key, clock in clocks.items()}
    starts, ends = zip(*(every.values() or [_instants(since, until, WallClock())]), strict=True)
    widest = (
        None if since is None else min(each for each in starts if each),
        None if until is None else max(each for each in ends if each),
    )
    return LocalRange(*widest, {key: own for key, own in every.items() if own != widest})


def _instants(since: DayOrTime | None, until: DayOrTime | None, clock: WallClock) -> Instants:
    first = None if since is None else clock.instant(since)
    last = None if until is None else clock.instant(until)
    require_order(first, last)
    return first, last


def between(since: datetime | None, until: datetime | None) -> pl.Expr:
    """Whether `completed_at` lies in [since, until)."""
    after = pl.lit(True) if since is None else pl.col("completed_at") >= since
    return after if until is None else after & (pl.col("completed_at") < until)


def _written(since: datetime | None, until: datetime | None) -> dict[str, str]:
    return {
        "since": since.isoformat() if since else "-infinity",
        "until": until.isoformat() if until else "infinity",
    }
