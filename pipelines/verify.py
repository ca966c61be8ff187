"""Is every stored cell what plain SQL on the source says it should be?"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import polars as pl

from pipelines.compute.dirty_cells import dirty_cells
from pipelines.compute.validate import changes, with_verdict
from pipelines.errors import FeedLost, InvalidRange, UnknownOrganization
from pipelines.model.metrics import COUNT_COLUMNS, FIGURE_COLUMNS, KEY_COLUMNS
from pipelines.model.rollup_plan import ROLLUP_PLAN
from pipelines.publish import unpublished_images
from pipelines.settings import Settings
from pipelines.storage.cursors import Progress, progress_in
from pipelines.storage.database import Databases
from pipelines.storage.facts import JobFacts, open_facts
from pipelines.storage.frames import id_series
from pipelines.storage.migrations import require_schema
from pipelines.storage.source import SourceSnapshot, Wanted, open_snapshot

# Figures come from two programs that add and interpolate doubles in their own order.
_RELATIVE_TOLERANCE: Final = 1e-9

# How many organizations are compared at a time, which bounds memory.
_BATCH: Final = 25


@dataclass(frozen=True)
class Difference:
    """One figure that differs; column `row` for a cell that is missing (stored None) or left over."""

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
    """How many cells were compared, and how many wait for the next refresh instead."""

    organizations: int
    cells_compared: int
    cells_pending: int
    differences: tuple[Difference, ...]


def verify(
    databases: Databases,
    settings: Settings,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    organization_ids: Sequence[UUID] = (),
    on_progress: Callable[[str, int], None] | None = None,
) -> VerifyReport:
    """Compare each stored cell whose `period_start` is in [since, until) with SQL on the source.

    A cell that a row touched after its organization's published horizon is pending, not different.
    Raises `UnknownOrganization`, `InvalidRange`, `SchemaMissing`, `SourceMissing`.
    """
    if since and until and since >= until:
        raise InvalidRange(f"({since.isoformat()} is not before {until.isoformat()})")
    require_schema(databases, settings)
    # The aggregates first: whatever the source shows later than they do is pending.
    with (
        open_snapshot(databases.analytics_url, settings, of_source=False) as analytics,
        open_snapshot(databases.source_url, settings) as source,
    ):
        progress = progress_in(analytics.rows("read/published_state.sql"))
        unknown = [str(asked) for asked in organization_ids if asked not in progress]
        if unknown:
            raise UnknownOrganization(f"({', '.join(unknown)})")
        scope = sorted(organization_ids or progress)
        pending = _pending(source, open_facts(settings), progress, scope, settings)
        compared, pending_cells = 0, 0
        differences: list[Difference] = []
        for start in range(0, len(scope), _BATCH):
            batch = {key: progress[key] for key in scope[start : start + _BATCH]}
            values = _values(batch, settings, since, until)
            both = _side_by_side(
                analytics.cells("verify/stored_cells.sql", values),
                source.cells("verify/expected_cells.sql", values),
            )
            waiting = both.join(pending, on=KEY_COLUMNS, how="semi").height
            both = both.join(pending, on=KEY_COLUMNS, how="anti")
            compared, pending_cells = compared + both.height, pending_cells + waiting
            differences += _differences(both)
            if on_progress:
                on_progress("verify", compared)
    return VerifyReport(len(scope), compared, pending_cells, tuple(differences))


def _values(
    batch: dict[UUID, Progress], settings: Settings, since: datetime | None, until: datetime | None
) -> list[str]:
    organizations = [
        {"organization_id": str(key), "extracted_at": progress.extracted_at.isoformat()}
        for key, progress in batch.items()
    ]
    tolerance = settings.future_tolerance
    return [
        json.dumps(organizations),
        since.isoformat() if since else "-infinity",
        until.isoformat() if until else "infinity",
        settings.earliest_completion_at.isoformat(),
        f"{tolerance.total_seconds()} seconds" if tolerance is not None else "",
    ]


def _pending(
    source: SourceSnapshot,
    facts: JobFacts,
    progress: Mapping[UUID, Progress],
    scope: Sequence[UUID],
    settings: Settings,
) -> pl.DataFrame:
    """The keys of the cells that a change since the horizons, or facts not yet published, left or entered.

    Changes of every organization count: a job may be on its way from one to another.
    """
    mine = pl.col("organization_id").is_in(id_series("organization_id", scope).implode())
    keys = [_cells_of(facts.scan().clear().collect())]
    # Without a feed everything is published anew next time, and until then nothing says what changed.
    with suppress(FeedLost):
        keys += [_cells_of(images.filter(mine)) for images in unpublished_images(facts, progress)]
    for jobs in source.jobs(Wanted({key: seen.horizon for key, seen in progress.items()})):
        judged = with_verdict(
            jobs,
            clock=source.moment.extracted_at,
            earliest=settings.earliest_completion_at,
            tolerance=settings.future_tolerance,
        )
        before = facts.scan().join(judged.lazy().select("job_id"), on="job_id", how="semi").collect()
        now = changes(judged).filter("counts").select(before.columns)
        keys.append(_cells_of(pl.concat([before, now]).filter(mine)))
    return pl.concat(keys).unique()


def _cells_of(jobs: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(dirty_cells(jobs, period, masks) for period, masks in ROLLUP_PLAN.items())


def _side_by_side(stored: pl.DataFrame, expected: pl.DataFrame) -> pl.DataFrame:
    return stored.with_columns(is_stored=pl.lit(True)).join(
        expected.with_columns(is_expected=pl.lit(True)),
        on=KEY_COLUMNS,
        how="full",
        coalesce=True,
        suffix="_expected",
    )


def _differences(both: pl.DataFrame) -> Iterator[Difference]:
    alone = both.filter(pl.col("is_stored").is_null() | pl.col("is_expected").is_null())
    for row in alone.sort(*KEY_COLUMNS).iter_rows(named=True):
        yield _difference(row, "row", row["total_executions"], row["total_executions_expected"])
    paired = both.filter("is_stored", "is_expected").sort(*KEY_COLUMNS)
    for column in FIGURE_COLUMNS:
        for row in paired.filter(_differs(column)).iter_rows(named=True):
            yield _difference(row, column, row[column], row[f"{column}_expected"])


def _differs(column: str) -> pl.Expr:
    stored, expected = pl.col(column), pl.col(f"{column}_expected")
    if column in COUNT_COLUMNS:
        return stored.ne_missing(expected)
    far = (stored - expected).abs() > _RELATIVE_TOLERANCE * pl.max_horizontal(stored.abs(), expected.abs())
    return (stored.is_null() != expected.is_null()) | far.fill_null(False) | stored.is_nan().fill_null(False)


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
