"""Do the stored cells still say what the source says? A slice at a time, and what does not is repaired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import polars as pl

from pipelines.frames import schema_of, sentinel
from pipelines.postgres.connections import Run, connections_reused
from pipelines.postgres.schema_checks import require_schema
from pipelines.publish.recompute import repair_cells
from pipelines.runs.refresh import reconcile_created
from pipelines.runs.verify import Difference, VerifyReport, verify
from pipelines.state.lock import refresh_lock
from pipelines.state.watermarks import find_audit_order, mark_audited
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import Subject

# All organizations have their turn in so many audits: with one an hour, in a day.
SLICES: Final = 24

# A slice is no smaller than this, so that few cells have their turn every time.
_FEWEST_CELLS: Final = 50_000


@dataclass(frozen=True)
class AuditReport:
    """The organizations that the audit looked at, what it found, and which differences it could not repair.

    Where `facts_differed`, the cells were those of the facts, and the facts not those of the source. Of
    organizations that are `waiting`, days and longer were not compared: they are about to be computed anew.
    The same of steps is in `steps_found` and `steps_unrepaired`.
    """

    organization_ids: tuple[UUID, ...]
    cells_compared: int
    waiting: tuple[UUID, ...]
    found: tuple[Difference, ...]
    facts_differed: tuple[Difference, ...]
    unrepaired: tuple[Difference, ...]
    steps_found: tuple[Difference, ...] = ()
    steps_unrepaired: tuple[Difference, ...] = ()

    @property
    def verified(self) -> tuple[UUID, ...]:
        """The organizations without a difference, or without one any more."""
        wrong = {difference.organization_id for difference in self.unrepaired}
        return tuple(key for key in self.organization_ids if key not in wrong and key not in self.waiting)


@connections_reused()
def audit(run: Run, *, slices: int = SLICES) -> AuditReport:
    """Compare the organizations whose turn was longest ago with plain SQL on the source.

    Cells that differ are computed anew from the facts; where that does not help, the facts are compared
    with the source as a whole. What was stored before is kept as a restatement. Raises as `verify` does.
    """
    require_schema(run)
    with run.analytics() as analytics:
        slice_of = _slice(find_audit_order(analytics), slices)
    if not slice_of:
        return AuditReport((), 0, (), (), (), ())
    report = verify(run, organization_ids=slice_of)
    differed = unrepaired = _repaired(run, report)
    if wrong := _organizations(differed):
        # Whatever cannot be published stays as it is, which is no reason not to look at the others.
        patient = run.settings.model_copy(update={"tolerated_failures_pct": 100})
        reconcile_created(replace(run, settings=patient), organization_ids=wrong)
        unrepaired = _repaired(run, verify(run, organization_ids=wrong))
    audited = AuditReport(
        organization_ids=tuple(slice_of),
        cells_compared=report.cells_compared,
        waiting=report.waiting,
        found=report.differences,
        facts_differed=differed[JOBS],
        unrepaired=unrepaired[JOBS],
        steps_found=report.steps.differences,
        steps_unrepaired=unrepaired[STEPS],
    )
    with run.analytics() as analytics:
        mark_audited(analytics, JOBS, slice_of, audited.verified, report.as_of)
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


def _organizations(found: Mapping[Subject, Sequence[Difference]]) -> list[UUID]:
    return sorted({each.organization_id for differences in found.values() for each in differences})


def _repaired(run: Run, report: VerifyReport) -> dict[Subject, tuple[Difference, ...]]:
    """Compute cells that differ anew from the facts; return what differs all the same."""
    found = _differences(report)
    wrong = _organizations(found)
    if not wrong:
        return found
    with refresh_lock(run):
        for subject, differences in found.items():
            if differences:
                repair_cells(run, subject, _keys(differences, subject))
    return _differences(verify(run, organization_ids=wrong))


def _differences(report: VerifyReport) -> dict[Subject, tuple[Difference, ...]]:
    return {JOBS: report.differences, STEPS: report.steps.differences}


def _keys(differences: Sequence[Difference], subject: Subject) -> pl.DataFrame:
    types = {"organization_id": "uuid", "period": "text", "period_start": "timestamptz"}
    types |= {each.column: each.type for each in subject.dimensions}
    rows = []
    for each in differences:
        cell = [sentinel(each.cell[name]) for name in subject.dimension_columns]
        rows.append([each.organization_id.bytes, each.period, each.period_start, *cell])
    return pl.DataFrame(rows, schema=schema_of(types), orient="row").unique()
