"""Do the stored cells still say what the source says? A slice at a time, and what does not is repaired."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.postgres.connections import Databases, connect, connections_reused
from pipelines.postgres.schema_checks import require_schema
from pipelines.publish.repair import repair_cells
from pipelines.runs.refresh import reconcile_created
from pipelines.runs.step_verify import StepDifference
from pipelines.runs.verify import Difference, verify
from pipelines.settings import Settings
from pipelines.state.lock import refresh_lock
from pipelines.state.step_watermarks import forget_published_steps
from pipelines.state.watermarks import find_audit_order, mark_audited
from pipelines.subjects.measures import KEY_COLUMNS

# All organizations have their turn in so many audits: with one an hour, in a day.
SLICES: Final = 24

# A slice is no smaller than this, so that few cells have their turn every time.
_FEWEST_CELLS: Final = 50_000

_INSTANT: Final = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class AuditReport:
    """Whom the audit looked at, what it found, and which differences it could not repair.

    Where `facts_differed`, the cells were those of the facts, and the facts not those of the source. Of
    those who are `waiting`, days and longer were not compared: they are about to be computed anew. The
    steps of whoever is in `steps` differed, and all of them are computed anew by the next run.
    """

    organization_ids: tuple[UUID, ...]
    cells_compared: int
    waiting: tuple[UUID, ...]
    found: tuple[Difference, ...]
    facts_differed: tuple[Difference, ...]
    unrepaired: tuple[Difference, ...]
    steps: tuple[StepDifference, ...] = ()

    @property
    def verified(self) -> tuple[UUID, ...]:
        """Those without a difference, or without one any more."""
        wrong = {difference.organization_id for difference in self.unrepaired}
        return tuple(key for key in self.organization_ids if key not in wrong and key not in self.waiting)


@connections_reused()
def audit(databases: Databases, settings: Settings, *, slices: int = SLICES) -> AuditReport:
    """Compare the organizations whose turn was longest ago with plain SQL on the source.

    Cells that differ are computed anew from the facts; where that does not help, the facts are compared
    with the source as a whole. What was stored before is kept as a restatement. Raises as `verify` does.
    """
    require_schema(databases, settings)
    with connect(databases.analytics_url, settings) as analytics:
        slice_of = _slice(find_audit_order(analytics), slices)
    if not slice_of:
        return AuditReport((), 0, (), (), (), ())
    report = verify(databases, settings, organization_ids=slice_of)
    facts_differed = unrepaired = _repaired(databases, settings, report.differences)
    if unrepaired:
        # Whoever cannot be published stays as it is, which is no reason not to look at the others.
        patient = settings.model_copy(update={"tolerated_failures_pct": 100})
        reconcile_created(databases, patient, organization_ids=_organizations(unrepaired))
        unrepaired = _repaired(databases, settings, _again(databases, settings, unrepaired))
    audited = AuditReport(
        tuple(slice_of),
        report.cells_compared,
        report.waiting,
        report.differences,
        facts_differed,
        unrepaired,
        report.steps.differences,
    )
    with connect(databases.analytics_url, settings) as analytics:
        forget_published_steps(analytics, _organizations(audited.steps))
        mark_audited(analytics, slice_of, audited.verified, report.as_of)
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


def _organizations(differences: Collection[Difference | StepDifference]) -> list[UUID]:
    return sorted({difference.organization_id for difference in differences})


def _repaired(
    databases: Databases, settings: Settings, differences: Sequence[Difference]
) -> tuple[Difference, ...]:
    """Compute the cells that differ anew from the facts, and return what differs all the same."""
    if not differences:
        return ()
    with refresh_lock(databases, settings):
        repair_cells(databases, settings, _keys(differences))
    return _again(databases, settings, differences)


def _keys(differences: Sequence[Difference]) -> pl.DataFrame:
    ids = ("organization_id", "workflow_id", "client_id")
    return pl.DataFrame(
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
