"""Do the stored cells still say what the source says? A slice at a time, and what does not is repaired."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import polars as pl

from pipelines.compute.aggregate import Aggregator
from pipelines.fault_points import FaultPoint, passing
from pipelines.model.definition import definition
from pipelines.model.metrics import KEY_COLUMNS
from pipelines.model.restatements import Restated
from pipelines.recompute import Desk
from pipelines.refresh import reconcile_created
from pipelines.settings import Settings
from pipelines.storage.aggregates import Edition, Publication
from pipelines.storage.calendars import find_calendar
from pipelines.storage.cursors import find_audit_order, find_progress, hold, mark_verified
from pipelines.storage.database import Databases, connect
from pipelines.storage.definitions import version_of
from pipelines.storage.facts import open_facts
from pipelines.storage.facts_health import reading_facts
from pipelines.storage.lock import refresh_lock
from pipelines.storage.migrations import require_schema
from pipelines.storage.retention import find_removed_before
from pipelines.storage.statements import statement
from pipelines.verify import Difference, verify

# All organizations have their turn in so many audits: with one an hour, in a day.
SLICES: Final = 24

# A slice is no smaller than this, so that few cells have their turn every time.
_FEWEST_CELLS: Final = 50_000


_INSTANT: Final = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class AuditReport:
    """Whom the audit looked at, what it found, and which differences it could not repair.

    `verified` organizations have no difference, or none any more.
    """

    organization_ids: tuple[UUID, ...]
    cells_compared: int
    found: tuple[Difference, ...]
    unrepaired: tuple[Difference, ...]

    @property
    def verified(self) -> tuple[UUID, ...]:
        """Those without a difference."""
        wrong = {difference.organization_id for difference in self.unrepaired}
        return tuple(key for key in self.organization_ids if key not in wrong)


def audit(databases: Databases, settings: Settings, *, slices: int = SLICES) -> AuditReport:
    """Compare the organizations that were verified longest ago with plain SQL on the source.

    Cells that differ are computed anew from the facts; where that does not help, the facts are compared
    with the source as a whole. What was stored before is kept as a restatement. Raises as `verify` does.
    """
    require_schema(databases, settings)
    with connect(databases.analytics_url, settings) as analytics:
        slice_of = _slice(find_audit_order(analytics), slices)
    if not slice_of:
        return AuditReport((), 0, (), ())
    report = verify(databases, settings, organization_ids=slice_of)
    unrepaired = report.differences
    if unrepaired:
        _recompute(databases, settings, unrepaired)
        unrepaired = _again(databases, settings, unrepaired)
    if unrepaired:
        reconcile_created(databases, settings, organization_ids=_organizations(unrepaired))
        unrepaired = _again(databases, settings, unrepaired)
    audited = AuditReport(tuple(slice_of), report.cells_compared, report.differences, unrepaired)
    with connect(databases.analytics_url, settings) as analytics:
        mark_verified(analytics, audited.verified, report.as_of)
    return audited


def _slice(order: Sequence[tuple[UUID, int]], slices: int) -> list[UUID]:
    """The first organizations, until they have so many cells together."""
    enough = max(_FEWEST_CELLS, -(-sum(cells for _, cells in order) // slices))
    chosen = []
    for organization_id, cells in order:
        chosen.append(organization_id)
        enough -= cells
        if enough <= 0:
            break
    return chosen


def _again(
    databases: Databases, settings: Settings, differences: Sequence[Difference]
) -> tuple[Difference, ...]:
    return verify(databases, settings, organization_ids=_organizations(differences)).differences


def _organizations(differences: Collection[Difference]) -> list[UUID]:
    return sorted({difference.organization_id for difference in differences})


def _recompute(databases: Databases, settings: Settings, differences: Sequence[Difference]) -> None:
    """Compute the cells that differ anew from the facts."""
    ids = ("organization_id", "workflow_id", "client_id")
    keys = pl.DataFrame(
        [
            [getattr(each, name).bytes if name in ids else getattr(each, name) for name in KEY_COLUMNS]
            for each in differences
        ],
        schema={
            name: pl.Binary() if name in ids else pl.String() if name != "period_start" else _INSTANT
            for name in KEY_COLUMNS
        },
        orient="row",
    ).unique()
    with (
        refresh_lock(databases, settings),
        reading_facts(settings.facts_location),
        connect(databases.analytics_url, settings) as analytics,
        Aggregator(statement("compute/cells.sql")) as aggregator,
    ):
        calendar = find_calendar(analytics)
        progress = find_progress(analytics)
        edition = Edition(
            run_id=uuid4(),
            computed_at=datetime.now(UTC),
            definition_version=version_of(analytics, definition(settings.rollup_plan)),
            open_since=calendar.open_since({key: each.complete_through for key, each in progress.items()}),
            removed_before=find_removed_before(analytics),
        )
        publication = Publication(analytics, edition)
        desk = Desk(open_facts(settings).scan(), calendar.calendar, settings.rollup_plan, aggregator)
        for cells in desk.cells_at(keys, Restated.DRIFT):
            publication.stage(cells)
        publication.replace()
        hold(analytics, {key: progress[key] for key in _organizations(differences)})
        passing(FaultPoint.BEFORE_COMMIT)
    passing(FaultPoint.AFTER_COMMIT)
