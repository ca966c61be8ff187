"""Comparing every stored cell of steps with plain SQL on the source's logs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

import polars as pl

from pipelines.calendars.local_ranges import LocalRange
from pipelines.compute.comparison import differences, side_by_side
from pipelines.compute.dirty_cells import dirty_cells
from pipelines.errors import FeedLost
from pipelines.facts.delta import STEP_FACTS
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.health import reading_facts
from pipelines.frames import of_organizations
from pipelines.postgres.snapshot import Snapshot
from pipelines.publish.steps import unpublished_steps
from pipelines.settings import Settings
from pipelines.source.snapshot import SourceSnapshot
from pipelines.source.steps import Cursor, StepSource
from pipelines.state.step_watermarks import StepProgress
from pipelines.state.time_zones import calendar_in
from pipelines.state.watermarks import Progress, progress_in
from pipelines.subjects.definition import step_definition
from pipelines.subjects.periods import Period
from pipelines.subjects.rollup import STEP_ROLLUP_PLAN
from pipelines.subjects.subject import STEPS

# How many organizations are compared at a time, which bounds memory.
_BATCH: Final = 25


@dataclass(frozen=True)
class StepDifference:
    """One figure of a step that differs; column `row` for a cell that is missing (stored None) or left over.

    Of a column that is no number, `stored` and `expected` are None.
    """

    organization_id: UUID
    period: str
    period_start: datetime
    workflow_id: UUID
    step_name: str
    column: str
    stored: float | None
    expected: float | None


@dataclass(frozen=True)
class StepsVerified:
    """How many cells of steps were compared, how many wait for the next refresh instead, and are sealed.

    A sealed cell counts more steps than the source, of which a month was dropped.
    """

    cells_compared: int
    cells_pending: int
    cells_sealed: int
    differences: tuple[StepDifference, ...]


NO_STEPS: Final = StepsVerified(0, 0, 0, ())


def verify_steps(
    analytics: Snapshot,
    source: SourceSnapshot,
    settings: Settings,
    jobs: Mapping[UUID, Progress],
    scope: Sequence[UUID],
    within: LocalRange,
) -> StepsVerified:
    """Compare the cells of these organizations that begin in a range; none without logs.

    A cell that a line or a job touched after its organization's publication is pending, not different.
    """
    steps = StepSource(source, settings)
    if not steps.has_steps:
        return NO_STEPS
    with reading_facts(settings.step_facts_location, STEP_FACTS):
        comparison = _Comparison(analytics, source, steps, settings, jobs, scope)
        verified = NO_STEPS
        for start in range(0, len(scope), _BATCH):
            verified = comparison.of(scope[start : start + _BATCH], within, verified)
    return verified


class _Comparison:
    """Two snapshots side by side, and what is known to be on its way between them."""

    def __init__(
        self,
        analytics: Snapshot,
        source: SourceSnapshot,
        steps: StepSource,
        settings: Settings,
        jobs: Mapping[UUID, Progress],
        scope: Sequence[UUID],
    ) -> None:
        self._analytics, self._source, self._steps, self._settings = analytics, source, steps, settings
        self._progress = progress_in(analytics.rows("watermarks/step_progress"), StepProgress)
        self._jobs = jobs
        self._calendar = calendar_in(
            analytics.rows("state/time_zone_offsets"), {key: each.time_zone for key, each in jobs.items()}
        )
        definitions = analytics.rows("state/definitions")
        ours = definitions.filter(pl.col("definition") == step_definition())
        self._current = int(ours["definition_version"].item()) if ours.height else None
        self._removed_before = analytics.rows("state/removed_before")
        self._sealed_before = steps.sealed_before()
        self._pending = self._waiting(open_facts(settings, STEP_FACTS), scope)

    def of(self, batch: Sequence[UUID], within: LocalRange, so_far: StepsVerified) -> StepsVerified:
        """Compare these organizations, and add what comes out."""
        taken = self._handed_over(batch, within)
        self._analytics.set(taken)
        self._source.set(taken)
        both = self._kept(
            side_by_side(
                self._analytics.rows("verify/stored_step_cells"),
                self._source.rows("verify/expected_step_cells"),
                STEPS,
            )
        )
        on_its_way = self._on_its_way()
        waiting = both.filter(on_its_way).height
        both = both.filter(~on_its_way)
        touched = both.join(self._pending, on=STEPS.key_columns, how="semi").height
        both = both.join(self._pending, on=STEPS.key_columns, how="anti")
        sealed = both.filter(self._is_sealed())
        both = both.filter(~self._is_sealed())
        return replace(
            so_far,
            cells_compared=so_far.cells_compared + both.height,
            cells_pending=so_far.cells_pending + waiting + touched,
            cells_sealed=so_far.cells_sealed + sealed.height,
            differences=(
                *so_far.differences,
                *(_difference(*found) for found in differences(both, STEPS)),
            ),
        )

    def _handed_over(self, batch: Sequence[UUID], within: LocalRange) -> dict[str, str]:
        tolerance = self._settings.future_tolerance
        organizations = [
            {
                "organization_id": str(key),
                "extracted_at": each.extracted_at.isoformat(),
                "time_zone": each.time_zone,
            }
            for key in batch
            for each in [self._progress.get(key, self._jobs[key])]
        ]
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
        """Cells of who was never published, of another definition, or by other clocks than their jobs'."""
        never = [key for key in self._jobs if key not in self._progress]
        stale = [key for key, each in self._progress.items() if each.definition_version != self._current]
        rezoned = [key for key, each in self._progress.items() if self._calendar.differs(key, each)]
        return of_organizations([*never, *stale]) | (
            of_organizations(rezoned) & (pl.col("period") != Period.HOUR.value)
        )

    def _is_sealed(self) -> pl.Expr:
        """Cells that count more steps than the source still has, from before months that were dropped."""
        if self._sealed_before is None:
            return pl.lit(False)
        more = pl.col("total_executions") > pl.col("total_executions_expected").fill_null(0)
        return (more & (pl.col("period_start") < self._sealed_before)).fill_null(False)

    def _waiting(self, facts: Facts, scope: Sequence[UUID]) -> pl.DataFrame:
        """The keys of the cells that facts not yet published, or lines that are no facts yet, touch."""
        mine = of_organizations(scope)
        keys = [self._cells_of(facts.scan().clear().collect())]
        # Without a feed everything is published anew next time, and until then nothing says what changed.
        with suppress(FeedLost):
            keys += [
                self._cells_of(images.filter(mine)) for images in unpublished_steps(facts, self._progress)
            ]
        for now in self._changed():
            before = facts.scan().join(now.lazy().select("log_id"), on="log_id", how="semi").collect()
            counted = now.filter("counts").with_columns(completed_date=pl.col("completed_at").dt.date())
            both = pl.concat([before, counted.select(before.columns)])
            same = before.join(counted, on=["log_id", "row_hash"], how="semi").select("log_id")
            keys.append(self._cells_of(both.join(same, on="log_id", how="anti").filter(mine)))
        return pl.concat(keys).unique()

    def _changed(self) -> Iterator[pl.DataFrame]:
        """What was written later than it was read, and lines of jobs that were."""
        tolerance = self._settings.future_tolerance
        cursors = {
            key: Cursor(each.horizon, each.extracted_at + tolerance if tolerance is not None else None)
            for key, each in self._progress.items()
        }
        return chain(self._steps.written(cursors), self._steps.of_changed_jobs(cursors))

    def _cells_of(self, steps: pl.DataFrame) -> pl.DataFrame:
        return dirty_cells(steps, STEP_ROLLUP_PLAN, self._calendar.calendar, STEPS)


def _difference(
    row: dict[str, Any], column: str, stored: float | None, expected: float | None
) -> StepDifference:
    return StepDifference(
        organization_id=UUID(bytes=row["organization_id"]),
        period=row["period"],
        period_start=row["period_start"],
        workflow_id=UUID(bytes=row["workflow_id"]),
        step_name=row["step_name"],
        column=column,
        stored=stored,
        expected=expected,
    )
