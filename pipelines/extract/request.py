"""What a pass is asked to read, and what it has read of one subject."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from uuid import UUID, uuid4

import polars as pl

from pipelines.calendars.calendar import LocalRange
from pipelines.calendars.moments import DayOrTime, require_order
from pipelines.errors import PublishConflict
from pipelines.facts.fact_table import Absorbed, Facts, open_facts
from pipelines.settings import Settings
from pipelines.state.dimension_tables import NamesToCopy
from pipelines.state.time_zones import ReadCalendar
from pipelines.state.watermarks import Watermarks
from pipelines.subjects.reasons import Restated
from pipelines.subjects.subject import Subject


@dataclass(frozen=True)
class CompletedIn:
    """Rows that ended in [since, until), which are instants or go by the clocks of each organization.

    Raises `InvalidRange`.
    """

    since: DayOrTime
    until: DayOrTime

    def __post_init__(self) -> None:
        require_order(self.since, self.until)

    def by(self, calendar: ReadCalendar, organization_ids: Collection[UUID]) -> LocalRange:
        """The same as instants for each of these organizations; raises `InvalidRange`."""
        return calendar.range_of(self.since, self.until, organization_ids)


@dataclass(frozen=True)
class Request:
    """What a pass reads beside what changed: nothing, or days whose checksums differ from those of the facts.

    The comparison covers rows `completed` in a range, `created_since` a day, or `everything`. No
    `organization_ids` means all of them.
    """

    organization_ids: tuple[UUID, ...] = ()
    completed: CompletedIn | None = None
    created_since: date | None = None
    everything: bool = False
    accept_deletes: bool = False

    @property
    def compares(self) -> bool:
        """Whether the source is compared with the facts."""
        return bool(self.completed or self.created_since or self.everything)

    @property
    def settled_since(self) -> str | None:
        """The first day for which a delete guard is lifted when this is published."""
        if self.everything or (self.compares and self.accept_deletes):
            return "-infinity"
        return self.created_since.isoformat() if self.created_since else None

    def within(self, calendar: ReadCalendar, organization_ids: Collection[UUID]) -> LocalRange:
        """The range of time that is compared, for rows whose days are those on which they ended."""
        if self.completed:
            return self.completed.by(calendar, organization_ids)
        since = self.created_since
        return LocalRange(datetime.combine(since, time(), UTC) if since else None)


@dataclass(frozen=True)
class Findings:
    """What a pass found beside the jobs: names to copy, anomalies seen and listed ones that have healed."""

    names: NamesToCopy
    found: pl.DataFrame
    healed: pl.DataFrame


@dataclass(frozen=True)
class Extraction:
    """What one snapshot of the source held of a subject; its rows are facts, the rest waits to be published.

    `seen` is how far each organization was, and every row of the `swept` organizations was looked at. The
    `recounted` had other rows in the source than were accounted for, so checksums were compared. `guarded`
    says how many rows of an organization are gone from the source, too many to believe it; `request` is
    what was asked for. Cells that begin before `sealed_before` may count rows that the source no longer
    has. Until it is published the watermarks stay, so a later refresh reads what changed again; what only a
    comparison found is found by another.
    """

    subject: Subject
    checkpoint: str
    extracted_at: datetime
    calendar: ReadCalendar
    organization_ids: tuple[UUID, ...]
    seen: Watermarks
    swept: frozenset[UUID]
    guarded: Mapping[UUID, int]
    request: Request
    rows_read: int
    facts: Facts
    complete_through: Mapping[UUID, datetime]
    recounted: frozenset[UUID] = frozenset()
    not_counted: int = 0
    absorbed: Absorbed = field(default_factory=Absorbed)
    sealed_before: datetime | None = None
    findings: Findings | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    run_id: UUID = field(default_factory=uuid4)

    @property
    def reason(self) -> Restated | None:
        """Why cells change that were published; None where each change has a cause of its own."""
        return Restated.BACKFILL if self.request.compares else None

    @property
    def unknown_zones(self) -> frozenset[UUID]:
        """The organizations whose time zone the source's PostgreSQL does not know."""
        return frozenset(self.calendar.unknown) & frozenset(self.organization_ids)

    def with_newest_facts(self, settings: Settings) -> "Extraction":
        """The same with the facts as they are now; raises `PublishConflict` when they are others."""
        newest = open_facts(settings, self.subject.fact)
        if newest.table_id != self.facts.table_id or newest.version < self.facts.version:
            raise PublishConflict
        return replace(self, facts=newest)
