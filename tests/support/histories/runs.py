"""What is asked of the engine, what is done meanwhile, and how it is killed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from unittest.mock import patch
from uuid import UUID

from pipelines.compute import engine
from pipelines.fault_points import FaultPoint
from pipelines.postgres.connections import Databases, Run
from pipelines.publish import publisher, recompute
from pipelines.runs.maintenance import tidy_facts
from pipelines.runs.refresh import RefreshReport, rebuild, reconcile, reconcile_created, refresh
from pipelines.settings import Settings, Tier
from tests.support.faults.runs import kill
from tests.support.histories.books import Books, Row
from tests.support.histories.world import ORGANIZATIONS
from tests.support.planting import DAY, NOON

# The first is longer than clocks are behind, the second longer than any history.
LOOKBACKS = (timedelta(seconds=6), timedelta(minutes=30))

Cut = tuple[FaultPoint | None, int]

# While the source is read, and on the way from there to the table.
MEANWHILE = (FaultPoint.NAMES_READ, FaultPoint.JOBS_READ, *(FaultPoint.SNAPSHOT_CLOSED,) * 2)
MEANWHILE += (FaultPoint.FACTS_ABSORBED, FaultPoint.CELLS_COMPUTED)


@dataclass(frozen=True)
class Asked:
    """What was asked of the engine; no `only` is everybody.

    A checksum comparison covers jobs `completed` in a range, `created` since a day, or `everything`.
    """

    kind: str
    only: frozenset[UUID] = frozenset()
    completed: tuple[datetime, datetime] | None = None
    created: date | None = None
    everything: bool = False
    lookback: timedelta = LOOKBACKS[0]

    @classmethod
    def of(cls, kind: str, number: int) -> "Asked":
        """One of that kind; the number chooses for whom, and of which days."""
        one = frozenset({ORGANIZATIONS[number % 3]})
        some = one if number // 3 % 2 else frozenset()
        since = NOON - (number // 6 % 4) * DAY
        until = since + (1 + number // 24 % 6) * DAY
        lookback = LOOKBACKS[number % 2]
        return {
            "one organization": cls(kind, one),
            "range": cls(kind, some, completed=(since, until)),
            "created since": cls(kind, some, created=since.date()),
            "checksums": cls(kind, some, everything=True),
            "indexed": cls(kind, one if number % 5 == 0 else frozenset(), lookback=lookback),
        }.get(kind, cls(kind, lookback=lookback))

    @property
    def indexed(self) -> bool:
        """Whether it may overlook what `updated_at` does not tell."""
        return self.kind == "indexed"

    @property
    def counts(self) -> bool:
        """Whether it looks through the whole table, and so misses rows that are gone."""
        return self.kind in ("sweep", "one organization")

    def sees(self, row: Row, extracted_at: datetime | None) -> bool:
        """Whether it reads a row of an organization that was last read then."""
        if not self.indexed or extracted_at is None:
            return not self.indexed
        if isinstance(row.updated_at, str):
            return row.updated_at != "-infinity" and "BC" not in row.updated_at
        return row.updated_at >= extracted_at - self.lookback

    def asks_about(self, created_date: date, completed_at: datetime) -> bool:
        """Whether it notices that such a job is no more."""
        if self.completed:
            return self.completed[0] <= completed_at < self.completed[1]
        return self.everything or (self.created is not None and created_date >= self.created)

    def with_tier(self, settings: Settings) -> Settings:
        """The settings by which changed rows are found."""
        tier = Tier.INDEXED if self.kind.startswith("indexed") else Tier.SWEEP
        every = timedelta(milliseconds=1) if self.kind == "indexed and due" else DAY
        update = {"extraction": tier, "lookback": self.lookback, "sweep_every": every}
        return settings.model_copy(update=update)

    def ask(self, databases: Databases, settings: Settings) -> RefreshReport | None:
        """Have the engine do it."""
        settings, only = self.with_tier(settings), sorted(self.only)
        if self.kind == "tidy":
            tidy_facts(
                Run(databases, settings.model_copy(update={"feed_retention": timedelta(milliseconds=1)}))
            )
            return None
        if self.kind == "rebuild":
            rebuild(Run(databases, settings))
            return None
        if self.completed:
            since, until = self.completed
            return reconcile(Run(databases, settings), since=since, until=until, organization_ids=only)
        if self.created or self.everything:
            return reconcile_created(Run(databases, settings), since=self.created, organization_ids=only)
        return refresh(Run(databases, settings), organization_ids=only)


@contextmanager
def portions_of(jobs: int) -> Iterator[None]:
    """Have the engine take so many jobs at a time: few of them make a whale."""
    with ExitStack() as smaller:
        for module in (engine, publisher, recompute):
            smaller.enter_context(patch.object(module, "CHUNK_ROWS", jobs))
        yield


class Watcher:
    """Takes a photo of the books whenever the engine does of the source; writes meanwhile, and kills.

    A cut is a fault point, or any, and how often it has to be passed.
    """

    def __init__(
        self,
        books: Callable[[], tuple[Books, int]],
        cut: Cut | None,
        meanwhile: tuple[FaultPoint, Callable[[], None]] | None,
    ) -> None:
        self._books, self._meanwhile = books, meanwhile
        self._point, self._left = cut or (None, 0)
        self.photo = books()
        self.fired: FaultPoint | None = None

    def __call__(self, point: FaultPoint) -> None:
        if point is FaultPoint.SNAPSHOT_OPENED:
            self.photo = self._books()
        if self._meanwhile and self._meanwhile[0] is point:
            (_, write), self._meanwhile = self._meanwhile, None
            write()
        if self._point in (point, None):
            self._left -= 1
            if self._left == 0:
                self.fired = point
                kill()
