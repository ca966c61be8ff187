"""Is every stored cell what plain SQL on the source says it should be?"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

import polars as pl

from pipelines.calendars.local_ranges import LocalRange
from pipelines.calendars.moments import DayOrTime, require_order
from pipelines.compute.comparison import differences, side_by_side
from pipelines.compute.dirty_cells import dirty_cells
from pipelines.errors import FeedLost, UnknownOrganization
from pipelines.extract.validation import changes, with_verdict
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.health import reading_facts
from pipelines.frames import of_organizations, uuids
from pipelines.postgres.connections import Databases
from pipelines.postgres.schema_checks import require_schema
from pipelines.postgres.snapshot import Snapshot, open_snapshot
from pipelines.postgres.statements import statement
from pipelines.publish.publisher import unpublished_images
from pipelines.runs.step_verify import NO_STEPS, StepsVerified, verify_steps
from pipelines.settings import Settings
from pipelines.source.selections import Asked, OfOwners, Swept
from pipelines.source.snapshot import SourceSnapshot, open_source
from pipelines.state.time_zones import UTC, calendar_in
from pipelines.state.watermarks import Progress, progress_in
from pipelines.subjects.definition import definition
from pipelines.subjects.measures import DIMENSIONS, KEY_COLUMNS
from pipelines.subjects.periods import Period
from pipelines.subjects.rollup import RollupPlan
from pipelines.subjects.subject import JOBS

# How many organizations are compared at a time, which bounds memory.
_BATCH: Final = 25


@dataclass(frozen=True)
class Difference:
    """One figure that differs; column `row` for a cell that is missing (stored None) or left over.

    Of a column that is no number, `stored` and `expected` are None.
    """

    organization_id: UUID
    period: str
    period_start: datetime
    workflow_id: UUID
    client_id: UUID
    initiator_type: str
    column: str
    stored: float | None
    expected: float | None


@dataclass(frozen=True)
class VerifyReport:
    """How many cells were compared, how many wait for the next refresh instead, and how many are sealed.

    The source was as it was at `as_of`. Cells of the organizations `waiting` are about to be computed anew,
    by another definition or in another time zone, and are pending. A sealed cell holds more jobs than the
    source, which no longer has what happened before EXECMETRICS_SEALED_BEFORE. `steps` says the same of the
    cells of steps.
    """

    organizations: int
    cells_compared: int
    cells_pending: int
    cells_sealed: int
    differences: tuple[Difference, ...]
    as_of: datetime
    waiting: tuple[UUID, ...] = ()
    steps: StepsVerified = NO_STEPS


def verify(
    databases: Databases,
    settings: Settings,
    *,
    since: DayOrTime | None = None,
    until: DayOrTime | None = None,
    organization_ids: Sequence[UUID] = (),
    on_progress: Callable[[str, int], None] | None = None,
) -> VerifyReport:
    """Compare each stored cell whose `period_start` is in [since, until) with SQL on the source.

    Dates and times without an offset go by the clocks of each organization.
    A cell that a row touched after its organization's publication, be it a job or a workflow or client that
    changed hands, is pending, not different; what retention has removed is not missed. Raises
    `UnknownOrganization`, `InvalidRange`, `SchemaMissing`, `SourceMissing`.
    """
    require_order(since, until)
    require_schema(databases, settings)
    # The aggregates first: whatever the source shows later than they do is pending.
    with (
        open_snapshot(databases.analytics_url, settings) as analytics,
        open_source(databases.source_url, settings) as source,
        reading_facts(settings.facts_location),
    ):
        progress = progress_in(analytics.rows("watermarks/published_state"), Progress)
        unknown = [str(asked) for asked in organization_ids if asked not in progress]
        if unknown:
            raise UnknownOrganization(f"({', '.join(unknown)})")
        scope = sorted(organization_ids or progress)
        comparison = _Comparison(analytics, source, open_facts(settings), settings, progress, scope)
        within = comparison.calendar.range_of(since, until, scope)
        waiting = tuple(key for key in scope if key in comparison.waiting)
        report = VerifyReport(len(scope), 0, 0, 0, (), source.moment.extracted_at, waiting)
        for start in range(0, len(scope), _BATCH):
            report = comparison.of(scope[start : start + _BATCH], within, report)
            if on_progress:
                on_progress("verify", report.cells_compared)
        steps = verify_steps(analytics, source, settings, progress, scope, within)
    return replace(report, steps=steps)


class _Comparison:
    """Two snapshots side by side, and what is known to be on its way between them."""

    def __init__(
        self,
        analytics: Snapshot,
        source: SourceSnapshot,
        facts: Facts,
        settings: Settings,
        progress: Mapping[UUID, Progress],
        scope: Sequence[UUID],
    ) -> None:
        self._analytics, self._source, self._settings = analytics, source, settings
        self._progress = progress
        self.calendar = calendar_in(
            analytics.rows("state/time_zone_offsets"),
            {key: each.time_zone for key, each in progress.items()},
        )
        definitions = analytics.rows("state/definitions")
        ours = definitions.filter(pl.col("definition") == definition(settings.rollup_plan))
        self._current = int(ours["definition_version"].item()) if ours.height else None
        self._removed_before = analytics.rows("state/removed_before")
        self._rezoned = self._of_other_zones()
        self._stale = [key for key, each in progress.items() if not each.is_of(self._current)]
        self._pending = self._waiting(facts, scope)

    def of(self, batch: Sequence[UUID], within: LocalRange, so_far: VerifyReport) -> VerifyReport:
        """Compare these organizations, and add what comes out to the report."""
        settings = self._handed_over(batch, within)
        self._analytics.set(settings)
        self._source.set(settings)
        stored = self._analytics.rows("verify/stored_cells")
        expected = self._source.rows_of(oracle(self._settings.rollup_plan))
        both = self._kept(side_by_side(stored, expected, JOBS))
        on_its_way = self._on_its_way()
        waiting = both.filter(on_its_way).height
        both = both.filter(~on_its_way)
        waits = both.join(self._pending, on=KEY_COLUMNS, how="semi").height
        both = both.join(self._pending, on=KEY_COLUMNS, how="anti")
        sealed = self._sealed(both)
        both = both.join(sealed, on=KEY_COLUMNS, how="anti")
        return replace(
            so_far,
            cells_compared=so_far.cells_compared + both.height,
            cells_pending=so_far.cells_pending + waiting + waits,
            cells_sealed=so_far.cells_sealed + sealed.height,
            differences=(*so_far.differences, *(_difference(*found) for found in differences(both, JOBS))),
        )

    @property
    def waiting(self) -> set[UUID]:
        """Whose cells are about to be computed anew."""
        return {*self._stale, *self._rezoned}

    def _handed_over(self, batch: Sequence[UUID], within: LocalRange) -> dict[str, str]:
        organizations = [
            {
                "organization_id": str(key),
                "extracted_at": self._progress[key].extracted_at.isoformat(),
                "time_zone": self._progress[key].time_zone,
            }
            for key in batch
        ]
        tolerance = self._settings.future_tolerance
        return {
            "execmetrics.organizations": json.dumps(organizations),
            "execmetrics.earliest": self._settings.earliest_completion_at.isoformat(),
            "execmetrics.tolerance": f"{tolerance.total_seconds()} seconds" if tolerance is not None else "",
        } | within.settings("execmetrics.started")

    def _kept(self, both: pl.DataFrame) -> pl.DataFrame:
        """Without what retention has removed."""
        for period, removed_before in self._removed_before.iter_rows():
            both = both.filter((pl.col("period") != period) | (pl.col("period_start") >= removed_before))
        return both

    def _on_its_way(self) -> pl.Expr:
        """Cells of another definition, or of another zone, than the next refresh computes."""
        of_the_rest = of_organizations(self._stale)
        if self._current is not None:
            of_the_rest &= pl.col("definition_version").ne_missing(self._current)
        return of_the_rest | (of_organizations(self._rezoned) & (pl.col("period") != Period.HOUR.value))

    def _of_other_zones(self) -> list[UUID]:
        zones = self._source.organizations().select("id", "time_zone").iter_rows()
        now = {UUID(bytes=key): zone or UTC for key, zone in zones}
        return [key for key, each in self._progress.items() if now.get(key, each.time_zone) != each.time_zone]

    def _sealed(self, both: pl.DataFrame) -> pl.DataFrame:
        """Cells that hold more jobs than the source still has, from before the day that seals them."""
        sealed_before = self._settings.sealed_before_at
        if sealed_before is None:
            return both.clear()
        more = pl.col("total_executions") > pl.col("total_executions_expected").fill_null(0)
        return both.filter(more & (pl.col("period_start") < sealed_before))

    def _waiting(self, facts: Facts, scope: Sequence[UUID]) -> pl.DataFrame:
        """The keys of the cells that facts not yet published, or changes that are no facts yet, touch.

        Changes of every organization count: a job may be on its way from one to another.
        """
        mine = of_organizations(scope)
        keys = [self._cells_of(facts.scan().clear().collect())]
        # Without a feed everything is published anew next time, and until then nothing says what changed.
        with suppress(FeedLost):
            keys += [
                self._cells_of(images.filter(mine)) for images in unpublished_images(facts, self._progress)
            ]
        for jobs in chain.from_iterable(map(self._source.jobs, self._changed())):
            judged = with_verdict(
                jobs,
                clock=self._source.moment.extracted_at,
                earliest=self._settings.earliest_completion_at,
                tolerance=self._settings.future_tolerance,
            )
            before = facts.scan().join(judged.lazy().select("job_id"), on="job_id", how="semi").collect()
            now = changes(judged).filter(pl.col("gone").is_null()).select(before.columns)
            same = before.join(now, on=["job_id", "row_hash"], how="semi").select("job_id")
            changed = pl.concat([before, now]).join(same, on="job_id", how="anti")
            keys.append(self._cells_of(changed.filter(mine)))
        return pl.concat(keys).unique()

    def _changed(self) -> Iterator[Asked]:
        """What was written later than it was read: jobs, and workflows and clients that may be another's."""
        horizons = {key: seen.horizon for key, seen in self._progress.items()}
        yield Swept(horizons)
        earliest = min(horizons.values(), default=None)
        names = self._source.names(Swept(dict.fromkeys(horizons, earliest)))
        changed = OfOwners(uuids(names.workflows["id"]), uuids(names.clients["id"]))
        if changed.workflow_ids or changed.client_ids:
            yield changed

    def _cells_of(self, jobs: pl.DataFrame) -> pl.DataFrame:
        return dirty_cells(jobs, self._settings.rollup_plan, self.calendar.calendar).select(KEY_COLUMNS)


def oracle(plan: RollupPlan) -> str:
    """The oracle's statement for the combinations that a plan keeps."""
    sets = [
        ["organization_id", f"{period}_start", *(name for name, each in DIMENSIONS.items() if each in mask)]
        for period, masks in plan.items()
        for mask in masks
    ]
    text = ", ".join(f"({', '.join(columns)})" for columns in sets)
    return statement("verify/expected_cells").replace("{grouping_sets}", text)


def _difference(row: dict[str, Any], column: str, stored: float | None, expected: float | None) -> Difference:
    return Difference(
        organization_id=UUID(bytes=row["organization_id"]),
        period=row["period"],
        period_start=row["period_start"],
        workflow_id=UUID(bytes=row["workflow_id"]),
        client_id=UUID(bytes=row["client_id"]),
        initiator_type=row["initiator_type"],
        column=column,
        stored=stored,
        expected=expected,
    )
