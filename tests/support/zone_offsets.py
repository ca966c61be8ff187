"""How far the clocks of a zone are ahead of UTC, by Python's own rules."""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

DAY, HALF_AN_HOUR = timedelta(days=1), timedelta(minutes=30)
FIRST, LAST = datetime(2018, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)


@cache
def offsets_of(zone: str) -> tuple[tuple[datetime, int], ...]:
    """Since when by how many seconds, in these years; nothing for UTC."""
    if zone == "UTC":
        return ()
    found = [(FIRST, _offset_s(zone, FIRST))]
    day = FIRST
    while day < LAST:
        # On a day that begins and ends alike, clocks do not change.
        for half_hours in range(1, 49) if _offset_s(zone, day) != _offset_s(zone, day + DAY) else ():
            moment = day + half_hours * HALF_AN_HOUR
            if found[-1][1] != _offset_s(zone, moment):
                found.append((moment, _offset_s(zone, moment)))
        day += DAY
    return tuple(found)


def _offset_s(zone: str, moment: datetime) -> int:
    return int(moment.astimezone(ZoneInfo(zone)).utcoffset().total_seconds())
