"""Where the days of organizations begin by the source's own rules: engines disagree about time zones."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final
from uuid import UUID

import polars as pl
import psycopg

from pipelines.compute.calendar import OFFSET_COLUMNS, ZONE_COLUMNS, Calendar
from pipelines.model.periods import Period
from pipelines.settings import Settings
from pipelines.storage.cursors import Shown
from pipelines.storage.frames import id_series, uuids
from pipelines.storage.source import SourceSnapshot
from pipelines.storage.statements import statement

UTC: Final = "UTC"
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

# A bucket begins and ends so much before and after the jobs in it.
_MONTH: Final = timedelta(days=40)
_DAY: Final = timedelta(days=2)

# When any future is believed, so many years of it are read; after them the last offset holds on.
_YEARS: Final = 100
_ANY_FUTURE: Final = timedelta(days=_YEARS * 365)


@dataclass(frozen=True)
class ReadCalendar:
    """The calendar, and what it was made of: `offsets` (OFFSET_COLUMNS) of every zone in `time_zones`.

    An organization that is not in `time_zones` lives in UTC. Those in `unknown` live in a zone that the
    server does not list, and their days cannot be told.
    """

    calendar: Calendar
    offsets: pl.DataFrame
    time_zones: Mapping[UUID, str]
    unknown: frozenset[UUID]
    tolerance: timedelta | None = timedelta(0)

    def zone_of(self, organization_id: UUID) -> str:
        """The zone that an organization lives in."""
        return self.time_zones.get(organization_id, UTC)

    def fingerprint(self, organization_id: UUID, through: datetime) -> str:
        """MD5 of the offsets of its zone that cells published at `through` go by, not of those to come."""
        since, digests = self._digests[self.zone_of(organization_id)]
        latest = _latest_completion(through, self.tolerance) + _DAY
        return digests[max(bisect_right(since, latest), 1) - 1]

    def differs(self, organization_id: UUID, published: Shown) -> bool:
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
            moments.select(
                "organization_id",
                pl.lit(period.value).alias("period"),
                self.calendar.period_start(period),
            )
            for period in Period
        )

    @cached_property
    def _digests(self) -> dict[str, tuple[list[datetime], list[str]]]:
        """When each offset of a zone began, and the digest of all up to it."""
        found = {}
        for (zone,), rows in self.offsets.sort("since").group_by("time_zone"):
            digest = hashlib.md5(usedforsecurity=False)
            since, digests = rows["since"].to_list(), []
            # From where on the first was read is no rule of the zone.
            for begun, offset_s in zip([None, *since[1:]], rows["offset_s"], strict=True):
                digest.update(f"{begun and begun.isoformat()} {offset_s}\n".encode())
                digests.append(digest.hexdigest())
            found[str(zone)] = (since, digests)
        return found


def read_calendar(snapshot: SourceSnapshot, organizations: pl.DataFrame, settings: Settings) -> ReadCalendar:
    """Ask the source for the calendar of organizations (`id, time_zone`), for all jobs that may count."""
    zone = pl.col("time_zone")
    zones = organizations.select(
        organization_id="id", time_zone=pl.when(zone != "").then(zone).otherwise(pl.lit(UTC))
    ).cast(pl.Schema(ZONE_COLUMNS))
    until = _latest_completion(snapshot.moment.extracted_at, settings.future_tolerance)
    names = sorted(set(zones["time_zone"]) - {UTC})
    offsets = pl.DataFrame(schema=OFFSET_COLUMNS)
    if names:
        snapshot.set(
            {
                "execmetrics.time_zones": json.dumps(names),
                "execmetrics.calendar_since": _before(settings.earliest_completion_at, _MONTH).isoformat(),
                "execmetrics.calendar_until": (until + _MONTH).isoformat(),
            }
        )
        offsets = snapshot.rows("extract/zone_offsets.sql").cast(pl.Schema(OFFSET_COLUMNS))
    return _calendar(zones, offsets, settings.future_tolerance)


def keep_offsets(connection: psycopg.Connection, read: ReadCalendar) -> None:
    """Replace the kept offsets of these zones, for those who cannot ask the source."""
    connection.execute(
        statement("load/keep_zone_offsets.sql"),
        {name: read.offsets[name].to_list() for name in OFFSET_COLUMNS},
    )


def find_calendar(connection: psycopg.Connection) -> ReadCalendar:
    """The calendar that the stored cells go by."""
    zones = connection.execute(statement("read/published_zones.sql")).fetchall()
    offsets = connection.execute(statement("read/time_zone_offsets.sql")).fetchall()
    return _calendar(_zones(dict(zones)), pl.DataFrame(offsets, schema=OFFSET_COLUMNS, orient="row"))


def calendar_in(offsets: pl.DataFrame, time_zones: Mapping[UUID, str]) -> ReadCalendar:
    """The calendar of organizations in these zones by offsets that were kept (OFFSET_COLUMNS)."""
    return _calendar(_zones(time_zones), offsets.cast(pl.Schema(OFFSET_COLUMNS)))


def _zones(time_zones: Mapping[UUID, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "organization_id": id_series("organization_id", time_zones),
            "time_zone": pl.Series(list(time_zones.values()), dtype=pl.String),
        }
    )


def _calendar(
    zones: pl.DataFrame, offsets: pl.DataFrame, tolerance: timedelta | None = timedelta(0)
) -> ReadCalendar:
    utc = pl.DataFrame([(UTC, _EPOCH, 0)], schema=OFFSET_COLUMNS, orient="row")
    offsets = pl.concat([utc, offsets.filter(pl.col("time_zone") != UTC)])
    listed = pl.col("time_zone").is_in(offsets["time_zone"].unique().implode())
    known = zones.filter(listed)
    return ReadCalendar(
        Calendar(known, offsets),
        offsets,
        dict(zip(uuids(known["organization_id"]), known["time_zone"], strict=True)),
        frozenset(uuids(zones.filter(~listed)["organization_id"])),
        tolerance,
    )


def _latest_completion(moment: datetime, tolerance: timedelta | None) -> datetime:
    """Before when a job that counts at this moment completed, unless it is of a very distant future."""
    if tolerance is None or tolerance > _ANY_FUTURE:
        return datetime(moment.year + _YEARS, 1, 1, tzinfo=_EPOCH.tzinfo)
    return moment + tolerance


def _before(moment: datetime, so_much: timedelta) -> datetime:
    return max(moment, datetime.min.replace(tzinfo=_EPOCH.tzinfo) + so_much) - so_much
