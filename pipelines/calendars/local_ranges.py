"""A range that somebody writes in dates, as the instants that it means to each organization."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import polars as pl

from pipelines.calendars.moments import DayOrTime, WallClock, require_order
from pipelines.frames import of_organizations

# [since, until); an end that is None is open.
Instants = tuple[datetime | None, datetime | None]


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
