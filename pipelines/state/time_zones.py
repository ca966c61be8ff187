"""Where the days of organizations begin by the source's own rules: engines disagree about time zones."""

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final
from uuid import UUID

import polars as pl
from psycopg import Connection

from pipelines.calendars.calendar import OFFSET_COLUMNS, Calendar, LocalRange, local_range
from pipelines.calendars.moments import DayOrTime, WallClock
from pipelines.frames import id_series
from pipelines.postgres.session_settings import SessionSettings
from pipelines.postgres.statements import statement
from pipelines.settings import Settings
from pipelines.source.snapshot import SourceSnapshot
from pipelines.state.watermarks import Watermark
from pipelines.subjects.rollup import Period

UTC: Final = "UTC"
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

_OFFSETS_OF_UTC: Final = pl.DataFrame([(UTC, _EPOCH, 0)], schema=OFFSET_COLUMNS, orient="row")

# A bucket begins and ends so much before and after the jobs in it.
_MONTH: Final = timedelta(days=40)
_DAY: Final = timedelta(days=2)

# When any future is believed, so many years of it are read; after them the last offset holds on.
_YEARS: Final = 100
_ANY_FUTURE: Final = timedelta(days=_YEARS * 365)


@dataclass(frozen=True)
class ReadCalendar:
    """What the calendar is made of: `offsets` (OFFSET_COLUMNS) of every zone in `time_zones`.

    An organization that is not in `time_zones` lives in UTC. Those in `unknown` live in a zone that the
    server does not list, and their days cannot be told.
    """

    offsets: pl.DataFrame
    time_zones: Mapping[UUID, str]
    unknown: frozenset[UUID]
    tolerance: timedelta | None = timedelta(0)

    @cached_property
    def calendar(self) -> Calendar:
        """Made when something is computed, which most hours of most organizations do not need."""
        zones = {
            "organization_id": id_series("organization_id", self.time_zones),
            "time_zone": pl.Series(list(self.time_zones.values()), dtype=pl.String),
        }
        return Calendar(pl.DataFrame(zones), self.offsets)

    def zone_of(self, organization_id: UUID) -> str:
        """The zone that an organization lives in."""
        return self.time_zones.get(organization_id, UTC)

    def clock_of(self, organization_id: UUID) -> WallClock:
        """The clocks that an organization lives by."""
        return self._clocks[self.zone_of(organization_id)]

    def range_of(
        self, since: DayOrTime | None, until: DayOrTime | None, organization_ids: Collection[UUID]
    ) -> LocalRange:
        """[since, until) as instants for each of these organizations; raises `InvalidRange`."""
        return local_range(since, until, {key: self.clock_of(key) for key in organization_ids})

    def fingerprint(self, organization_id: UUID, through: datetime) -> str:
        """MD5 of the offsets of its zone that cells published at `through` go by, not of those to come."""
        since, fingerprints = self._fingerprints[self.zone_of(organization_id)]
        latest = _latest_completion(through, self.tolerance) + _DAY
        return fingerprints[max(bisect_right(since, latest), 1) - 1]

    def differs(self, organization_id: UUID, published: Watermark) -> bool:
        """Whether days, weeks and months began elsewhere when the organization was last published."""
        return published.zone_offsets != self.fingerprint(organization_id, published.extracted_at)

    def open_since(self, complete_through: Mapping[UUID, datetime]) -> pl.DataFrame:
        """Which bucket of each period these moments are in: `organization_id, period, period_start`."""
        moments = pl.DataFrame(
            {
                "organization_id": id_series("organization_id", complete_through),
                "completed_at": pl.Series(list(complete_through.values()), dtype=pl.Datetime("us", "UTC")),
            }
        )
        return pl.concat(
            moments.lazy().select(
                "organization_id",
                pl.lit(period.value).alias("period"),
                self.calendar.period_start(period),
            )
            for period in Period
        ).collect(engine="in-memory")

    @cached_property
    def _clocks(self) -> dict[str, WallClock]:
        offsets: dict[str, list[tuple[datetime, int]]] = {}
        for zone, since, offset_s in sorted(self.offsets.iter_rows()):
            offsets.setdefault(zone, []).append((since, offset_s))
        return {zone: WallClock(of_zone) for zone, of_zone in offsets.items()}

    @cached_property
    def _fingerprints(self) -> dict[str, tuple[list[datetime], list[str]]]:
        """When each offset of a zone began, and the fingerprint of all up to it."""
        found: dict[str, tuple[list[datetime], list[str]]] = {}
        fingerprint = hashlib.md5(usedforsecurity=False)
        for zone, since, offset_s in sorted(self.offsets.iter_rows()):
            if zone not in found:
                found[zone], fingerprint = ([], []), hashlib.md5(usedforsecurity=False)
            begun, fingerprints = found[zone]
            # From where on the first was read is no rule of the zone.
            fingerprint.update(f"{since.isoformat() if begun else None} {offset_s}\n".encode())
            begun.append(since)
            fingerprints.append(fingerprint.hexdigest())
        return found


def read_calendar(
    snapshot: SourceSnapshot, time_zones: Mapping[UUID, str | None], settings: Settings
) -> ReadCalendar:
    """Ask the source for the calendar of organizations in these zones, for all jobs that may count."""
    zones = {key: zone or UTC for key, zone in time_zones.items()}
    until = _latest_completion(snapshot.moment.extracted_at, settings.future_tolerance)
    names = sorted(set(zones.values()) - {UTC})
    offsets = pl.DataFrame(schema=OFFSET_COLUMNS)
    if names:
        snapshot.set(
            SessionSettings(
                time_zones=names,
                calendar_since=_before(settings.earliest_completion_at, _MONTH),
                calendar_until=until + _MONTH,
            )
        )
        offsets = snapshot.rows("source/zone_offsets").cast(pl.Schema(OFFSET_COLUMNS))
    return _calendar(zones, offsets, settings.future_tolerance)


def keep_offsets(connection: Connection, read: ReadCalendar) -> None:
    """Replace the kept offsets of these zones, for those who cannot ask the source."""
    connection.execute(
        statement("state/keep_zone_offsets"),
        {name: read.offsets[name].to_list() for name in OFFSET_COLUMNS},
    )


def find_calendar(connection: Connection) -> ReadCalendar:
    """The calendar that the stored cells go by."""
    zones = connection.execute(statement("state/published_zones")).fetchall()
    offsets = connection.execute(statement("state/time_zone_offsets")).fetchall()
    return _calendar(dict(zones), pl.DataFrame(offsets, schema=OFFSET_COLUMNS, orient="row"))


def calendar_in(offsets: pl.DataFrame, time_zones: Mapping[UUID, str]) -> ReadCalendar:
    """The calendar of organizations in these zones by offsets that were kept (OFFSET_COLUMNS)."""
    return _calendar(time_zones, offsets.cast(pl.Schema(OFFSET_COLUMNS)))


def _calendar(
    zones: Mapping[UUID, str], offsets: pl.DataFrame, tolerance: timedelta | None = timedelta(0)
) -> ReadCalendar:
    offsets = pl.concat([_OFFSETS_OF_UTC, offsets.filter(pl.col("time_zone") != UTC)])
    listed = set(offsets["time_zone"])
    known = {key: zone for key, zone in zones.items() if zone in listed}
    return ReadCalendar(offsets, known, frozenset(zones.keys() - known.keys()), tolerance)


def _latest_completion(moment: datetime, tolerance: timedelta | None) -> datetime:
    """Before when a job that counts at this moment completed, unless it is of a very distant future."""
    if tolerance is None or tolerance > _ANY_FUTURE:
        return datetime(moment.year + _YEARS, 1, 1, tzinfo=_EPOCH.tzinfo)
    return moment + tolerance


def _before(moment: datetime, so_much: timedelta) -> datetime:
    return max(moment, datetime.min.replace(tzinfo=_EPOCH.tzinfo) + so_much) - so_much
