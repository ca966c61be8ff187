"""How far the clocks of a zone are ahead of UTC, by Python's own rules."""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

FIRST, LAST = datetime(2018, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)


@cache
def offsets_of(zone: str) -> tuple[tuple[datetime, int], ...]:
    """Since when by how many seconds, in these years; nothing for UTC."""
    found: list[tuple[datetime, int]] = []
    moment = FIRST
    while zone != "UTC" and moment < LAST:
        offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
        assert offset is not None
        if not found or found[-1][1] != int(offset.total_seconds()):
            found.append((moment, int(offset.total_seconds())))
        moment += timedelta(minutes=30)
    return tuple(found)
