"""Is every stored cell what plain SQL on the source says it should be?"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

import polars as pl

from pipelines.calendars.calendar import LocalRange
from pipelines.calendars.moments import DayOrTime, require_order
from pipelines.compute.comparison import differences, side_by_side
from pipelines.compute.dirty_cells import dirty_cells
from pipelines.errors import FeedLost, UnknownOrganization
from pipelines.extract.validation import changes, with_verdict
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.health import reading_facts
from pipelines.frames import of_organizations, uuids
from pipelines.postgres.connections import OnProgress, Run
from pipelines.postgres.schema_checks import require_schema
from pipelines.postgres.session_settings import SessionSettings
from pipelines.postgres.snapshot import Snapshot, open_snapshot
from pipelines.postgres.subject_statements import oracle_statement, subject_statement
from pipelines.publish.publisher import unpublished_changes
from pipelines.settings import Settings
from pipelines.source.rows import SourceRowsOf
from pipelines.source.selections import Asked, Swept, of_owners
from pipelines.source.snapshot import SourceSnapshot, open_source
from pipelines.state.time_zones import UTC, calendar_in
from pipelines.state.watermarks import Watermarks, watermarks_in
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import TOMBSTONE, Subject

# How many organizations are compared at a time, which bounds memory.
_BATCH: Final = 25


@dataclass(frozen=True)
class Difference:
    """One figure that differs; column `row` for a cell that is missing (stored None) or left over.

    `cell` has the dimensions by column. Of a column that is no number, `stored` and `expected` are None.
    """

    organization_id: UUID
    period: str
    period_start: datetime
    cell: Mapping[str, UUID | str]
    column: str
    stored: float | None
    expected: float | None


@dataclass(frozen=True)
class Verified:
    """How many cells of a subject were compared, how many wait for the next refresh instead, and are sealed.

    A sealed cell counts more rows than the source, which no longer has them.
    """

    cells_compared: int = 0
    cells_pending: int = 0
    cells_sealed: int = 0
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class VerifyReport(Verified):
    """What was compared of jobs, and of `steps`.

    The source was as it was at `as_of`. Cells of the organizations `waiting` are about to be computed anew,
    by another definition or in another time zone, and are pending.
    """

    organizations: int = 0
    as_of: datetime = field(kw_only=True)
    waiting: tuple[UUID, ...] = ()
    steps: Verified = Verified()


def verify(
    run: Run,
    *,
    since: DayOrTime | None = None,
    until: DayOrTime | None = None,
    organization_ids: Sequence[UUID] = (),
) -> VerifyReport:
    """Compare each stored cell whose `period_start` is in [since, until) with SQL on the source.

    Dates and times without an offset go by the clocks of each organization.
    A cell that a row touched after its organization's publication, be it a job or a workflow or client that
    changed hands, is pending, not different; what retention has removed is not missed. Raises
    `UnknownOrganization`, `InvalidRange`, `SchemaMissing`, `SourceMissing`.
    """
    require_order(since, until)
    require_schema(run)
    # The aggregates first: whatever the source shows later than they do is pending.
    with (
        open_snapshot(run.databases.analytics_url, run.settings) as analytics,
        open_source(run.databases.source_url, run.settings) as source,
    ):
        jobs = watermarks_in(analytics.rows("watermarks/find"), JOBS)
        unknown = [str(asked) for asked in organization_ids if asked not in jobs]
        if unknown:
            raise UnknownOrganization(f"({', '.join(unknown)})")
        scope = sorted(organization_ids or jobs)
        sides = Sides(analytics, source, run.settings, jobs, scope)
        compared = JobComparison(sides)
        within = compared.calendar.range_of(since, until, scope)
        waiting = tuple(key for key in scope if key in compared.waiting)
        of_jobs = compared.compare(within, run.stages.tell)
        of_steps = verify_rows(sides, within, STEPS)
    return VerifyReport(
        **vars(of_jobs),
        organizations=len(scope),
        as_of=source.moment.extracted_at,
        waiting=waiting,
        steps=of_steps,
    )


@dataclass(frozen=True)
class Sides:
    """What is compared: the aggregates, the source, and which organizations; `jobs` are their watermarks."""

    analytics: Snapshot
    source: SourceSnapshot
    settings: Settings
    jobs: Watermarks
    scope: Sequence[UUID]


def verify_rows(sides: Sides, within: LocalRange, subject: Subject, counted: str | None = None) -> Verified:
    """The same for a subject that names its source; nothing is compared where its rows cannot be read.

    What counts is said by `counted`, SQL of the oracle, or else by `verify/counted_<subject>`.
    """
    rows = SourceRowsOf(sides.source, sides.settings, subject)
    return RowsComparison(sides, rows, counted).compare(within) if rows.is_readable else Verified()


class _Comparison:
    """Two snapshots side by side, and what is known to be on its way between them."""

    sealed_before: datetime | None

    def __init__(self, sides: Sides, subject: Subject, counted: str | None = None) -> None:
        analytics, settings, jobs = sides.analytics, sides.settings, sides.jobs
        self._analytics, self._source, self._settings = analytics, sides.source, settings
        self._jobs, self._scope, self._subject = jobs, sides.scope, subject
        self._plan = settings.plan_of(subject)
        self._counted = counted
        self._seen = watermarks_in(analytics.rows("watermarks/find"), subject)
        zones = {key: each.time_zone for key, each in jobs.items()}
        self.calendar = calendar_in(analytics.rows("state/time_zone_offsets"), zones)
        definitions = analytics.rows("state/definitions")
        ours = definitions.filter(pl.col("definition") == subject.definition(self._plan))
        self._current = int(ours["definition_version"].item()) if ours.height else None
        self._removed_before = analytics.rows("state/removed_before")
        self._stale = [key for key, each in self._seen.items() if not each.is_of(self._current)]
        self._rezoned = self._of_other_zones()
        self._unpublished = [key for key in jobs if key not in self._seen]
        with reading_facts(settings.location_of(subject.fact.table), subject.fact):
            self._pending = self._waiting(open_facts(settings, subject.fact))

    @property
    def waiting(self) -> set[UUID]:
        """The organizations whose cells are about to be computed anew."""
        return {*self._stale, *self._rezoned}

    def compare(self, within: LocalRange, tell: OnProgress = lambda _stage, _rows: None) -> Verified:
        """Compare the cells of all organizations, some at a time."""
        verified = Verified()
        for start in range(0, len(self._scope), _BATCH):
            verified = self._compared(self._scope[start : start + _BATCH], within, verified)
            tell("verify", verified.cells_compared)
        return verified

    def _compared(self, batch: Sequence[UUID], within: LocalRange, so_far: Verified) -> Verified:
        taken = self._handed_over(batch, within)
        self._analytics.set(taken)
        self._source.set(taken)
        stored = self._analytics.rows_of(subject_statement("publish/stored_cells", self._subject))
        expected = self._source.rows_of(oracle_statement(self._subject, self._plan, self._counted))
        both = self._kept(side_by_side(stored, expected, self._subject))
        keys = self._subject.key_columns
        settled = both.filter(~self._on_its_way()).join(self._pending, on=keys, how="anti")
        compared = settled.filter(~self._is_sealed())
        found = (self._difference(*each) for each in differences(compared, self._subject))
        return Verified(
            cells_compared=so_far.cells_compared + compared.height,
            cells_pending=so_far.cells_pending + both.height - settled.height,
            cells_sealed=so_far.cells_sealed + settled.height - compared.height,
            differences=(*so_far.differences, *found),
        )

    def _handed_over(self, batch: Sequence[UUID], within: LocalRange) -> SessionSettings:
        seen = {key: self._seen.get(key, self._jobs[key]) for key in batch}
        tolerance = self._settings.future_tolerance
        return SessionSettings(
            organizations=[
                {"organization_id": key, "extracted_at": each.extracted_at, "time_zone": each.time_zone}
                for key, each in seen.items()
            ],
            earliest=self._settings.earliest_completion_at,
            tolerance="" if tolerance is None else tolerance,
            started=within,
        )

    def _kept(self, both: pl.DataFrame) -> pl.DataFrame:
        """Without what retention has removed."""
        for period, removed_before in self._removed_before.iter_rows():
            both = both.filter((pl.col("period") != period) | (pl.col("period_start") >= removed_before))
        return both

    def _on_its_way(self) -> pl.Expr:
        """Cells of another definition or clock than the next refresh has, or never published."""
        of_the_stale = of_organizations(self._stale)
        if self._current is not None:
            of_the_stale &= pl.col("definition_version").ne_missing(self._current)
        rezoned = of_organizations(self._rezoned) & (pl.col("period") != Period.HOUR.value)
        return of_the_stale | of_organizations(self._unpublished) | rezoned

    def _of_other_zones(self) -> list[UUID]:
        """The organizations whose days began elsewhere when this subject was published."""
        return [key for key, each in self._seen.items() if self.calendar.differs(key, each)]

    def _is_sealed(self) -> pl.Expr:
        """Cells that count more rows than the source still has, from before it lost them."""
        if self.sealed_before is None:
            return pl.lit(False)
        more = pl.col(self._subject.total) > pl.col(f"{self._subject.total}_expected").fill_null(0)
        return (more & (pl.col("period_start") < self.sealed_before)).fill_null(False)

    def _waiting(self, facts: Facts) -> pl.DataFrame:
        """The keys of the cells that facts not yet published, or changes that are no facts yet, touch.

        Changes of every organization count: a row may be on its way from one to another.
        """
        mine, key = of_organizations(self._scope), self._subject.fact.key
        keys = [self._cells_of(facts.scan().clear().collect())]
        # Without a feed everything is published anew next time, and until then nothing says what changed.
        with suppress(FeedLost):
            for unpublished in unpublished_changes(facts, self._subject, self._seen):
                keys.append(self._cells_of(unpublished.filter(mine).drop("weight")))
        for now in self._changed():
            before = facts.scan().join(now.lazy().select(key), on=key, how="semi").collect()
            counted = now.filter(pl.col(TOMBSTONE).is_null()).select(before.columns)
            same = before.join(counted, on=[key, "row_hash"], how="semi").select(key)
            differing = pl.concat([before, counted]).join(same, on=key, how="anti")
            keys.append(self._cells_of(differing.filter(mine)))
        return pl.concat(keys).unique()

    def _changed(self) -> Iterator[pl.DataFrame]:
        """Yield what was written later than it was read, as facts, with a tombstone where none counts."""
        raise NotImplementedError

    def _cells_of(self, rows: pl.DataFrame) -> pl.DataFrame:
        return dirty_cells(rows, self._plan, self.calendar.calendar, self._subject)

    def _difference(self, row: dict[str, Any], *figures: Any) -> Difference:
        """One figure of a cell that differs: its column, as stored, and as expected."""
        cell = {
            each.column: UUID(bytes=row[each.column]) if each.type == "uuid" else row[each.column]
            for each in self._subject.dimensions
        }
        organization_id = UUID(bytes=row["organization_id"])
        return Difference(organization_id, row["period"], row["period_start"], cell, *figures)


class JobComparison(_Comparison):
    """Compares the cells of jobs."""

    def __init__(self, sides: Sides) -> None:
        self.sealed_before = sides.settings.sealed_before_at
        super().__init__(sides, JOBS)

    def _of_other_zones(self) -> list[UUID]:
        zones = self._source.organizations().select("id", "time_zone").iter_rows()
        now = {UUID(bytes=key): zone or UTC for key, zone in zones}
        return [key for key, each in self._jobs.items() if now.get(key, each.time_zone) != each.time_zone]

    def _changed(self) -> Iterator[pl.DataFrame]:
        earliest, tolerance = self._settings.earliest_completion_at, self._settings.future_tolerance
        clock = self._source.moment.extracted_at
        for jobs in chain.from_iterable(map(self._source.jobs, self._asked())):
            yield changes(with_verdict(jobs, clock=clock, earliest=earliest, tolerance=tolerance))

    def _asked(self) -> Iterator[Asked | Swept]:
        """Jobs written later than they were read, and workflows and clients that may be another's."""
        horizons = {key: self._source.horizon_after(seen.checkpoint) for key, seen in self._jobs.items()}
        yield Swept(horizons)
        earliest = min((horizon for horizon in horizons.values() if horizon is not None), default=None)
        names = self._source.names(Swept(dict.fromkeys(horizons, earliest)))
        yield of_owners(uuids(names.workflows["id"]), uuids(names.clients["id"]))


class RowsComparison(_Comparison):
    """Compares the cells of a subject that names its source."""

    def __init__(self, sides: Sides, rows: SourceRowsOf, counted: str | None) -> None:
        self._rows = rows
        self.sealed_before = rows.sealed_before()
        super().__init__(sides, rows.subject, counted)

    def _changed(self) -> Iterator[pl.DataFrame]:
        cursor = self._rows.cursor
        cursors = {key: cursor(each.checkpoint, each.extracted_at) for key, each in self._seen.items()}
        day = self._subject.fact.partition_column
        for rows in chain(self._rows.written(cursors), self._rows.of_changed_jobs(cursors)):
            yield rows.with_columns(
                pl.when("counts").then(None).otherwise(pl.lit("")).alias(TOMBSTONE),
                pl.col("completed_at").dt.date().alias(day),
            )
