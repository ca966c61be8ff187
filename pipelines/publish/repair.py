"""Stored cells that are not what the facts say, put right; what stood there is kept on record."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.extract.extractor import CompletedIn
from pipelines.frames import id_series, uuids
from pipelines.postgres.connections import Databases
from pipelines.progress import Stages
from pipelines.publish.publisher import Published
from pipelines.publish.recompute import Range, Workbench, workbench
from pipelines.settings import Settings
from pipelines.state.watermarks import Progress
from pipelines.subjects.periods import Period
from pipelines.subjects.restatements import Restated

# A bucket that begins so long before a moment may reach it, whatever the clocks of its zone did.
_REACHES: Final = (
    ((Period.HOUR, Period.DAY), timedelta(days=2)),
    ((Period.WEEK,), timedelta(days=9)),
    ((Period.MONTH,), timedelta(days=33)),
)

# Beyond them a bucket might begin or end where no date can be written.
_FIRST, _LAST = datetime(1, 6, 1, tzinfo=UTC), datetime(9999, 6, 1, tzinfo=UTC)


def repair_cells(databases: Databases, settings: Settings, keys: pl.DataFrame) -> Published:
    """Compute the cells with these keys (KEY_COLUMNS) anew from the facts.

    The caller holds the refresh lock. An organization with facts that are not published yet, or with cells
    of another definition, is left alone. Raises `PublishConflict`, `FactsUnusable`.
    """
    asked = uuids(keys["organization_id"].unique())
    with _workbench_of(databases, settings, asked) as bench:
        mine = keys.filter(pl.col("organization_id").is_in(id_series("id", bench.seen).implode()))
        if mine.is_empty():
            return Published()
        return bench.replace(tuple(bench.seen), [bench.desk.cells_at(mine, Restated.DRIFT)])


def repair_range(
    databases: Databases,
    settings: Settings,
    organization_ids: Collection[UUID],
    within: CompletedIn,
    stages: Stages,
) -> Published:
    """The same for all cells of these organizations that reach into a range, those too many included."""
    repaired = Published()
    with stages.timed("repair"), _workbench_of(databases, settings, organization_ids) as bench:
        some = settings.batch_organizations
        for instants, ids in within.by(bench.calendar, sorted(bench.seen)).groups(sorted(bench.seen)):
            for batch in (ids[start : start + some] for start in range(0, len(ids), some)):
                repaired += bench.replace_ranges(batch, reaching(*instants))
                stages.tell("repair", repaired.computed)
    return repaired


def reaching(since: datetime | None, until: datetime | None) -> tuple[Range, ...]:
    """Where the cells begin that may reach into a range; an end that is None is open."""
    last = until if until and until < _LAST else None
    return tuple(
        Range(since - reach if since and since > _FIRST else None, last, periods)
        for periods, reach in _REACHES
    )


def _workbench_of(
    databases: Databases, settings: Settings, organization_ids: Collection[UUID]
) -> AbstractContextManager[Workbench]:
    asked = frozenset(organization_ids)

    def wanted(progress: Progress, current: int) -> bool:
        return progress.organization_id in asked and progress.is_of(current)

    return workbench(databases, settings, Restated.DRIFT, wanted=wanted)
