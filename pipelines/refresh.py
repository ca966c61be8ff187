"""One pass from the source to the aggregates, one at a time: gather, compute, apply."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from pipelines.errors import InvalidRange
from pipelines.extract import CompletedIn, Extraction, extract
from pipelines.publish import Published, publish
from pipelines.settings import Settings
from pipelines.stages import OnProgress, Stages
from pipelines.storage.database import Databases
from pipelines.storage.lock import refresh_lock
from pipelines.storage.migrations import require_schema


@dataclass(frozen=True)
class RefreshReport:
    """What one pass did; `seconds` has the stages extract, facts, compute and publish, and the total.

    Compute and publish overlap, so the stages may add up to more than the total.
    """

    organizations: int
    jobs_read: int
    facts_inserted: int
    facts_updated: int
    facts_deleted: int
    cells_computed: int
    cells_written: int
    cells_deleted: int
    anomalies: int
    seconds: dict[str, float]


def refresh(
    databases: Databases,
    settings: Settings,
    *,
    organization_ids: Sequence[UUID] = (),
    on_progress: OnProgress | None = None,
) -> RefreshReport:
    """Bring facts and aggregates up to date with what changed in the source since the last pass.

    No `organization_ids` means all of them. Raises `UnknownOrganization`, `SchemaMissing`,
    `SourceMissing`, `AnotherRunHoldsTheLock`.
    """
    return _pass(databases, settings, organization_ids, None, on_progress)


def reconcile(
    databases: Databases,
    settings: Settings,
    *,
    since: datetime,
    until: datetime,
    organization_ids: Sequence[UUID] = (),
    on_progress: OnProgress | None = None,
) -> RefreshReport:
    """A refresh that also makes everything completed in [since, until) equal the source again.

    Jobs that completed in the range in the source or in the facts are read anew, so that rows deleted
    from the source leave the aggregates too. Raises as `refresh` does, and `InvalidRange`.
    """
    return _pass(databases, settings, organization_ids, _completed_in(since, until), on_progress)


def extract_changes(
    databases: Databases,
    settings: Settings,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    organization_ids: Sequence[UUID] = (),
) -> Extraction:
    """The first half of a pass: a refresh without a range, a reconcile with one.

    The facts are up to date afterwards; nothing is published, and nothing is lost if it never is.
    """
    require_schema(databases, settings)
    completed = _completed_in(since, until) if since and until else None
    stages = Stages()
    with refresh_lock(databases, settings), stages.timed("total"):
        extraction = extract(databases, settings, organization_ids, completed, stages)
    return replace(extraction, seconds=stages.seconds)


def publish_changes(databases: Databases, settings: Settings, extraction: Extraction) -> RefreshReport:
    """The second half of a pass; raises `PublishConflict` when another run published since the first."""
    stages = Stages(seconds=extraction.seconds)
    with refresh_lock(databases, settings), stages.timed("total"):
        published = publish(databases, settings, extraction, stages)
    return _report(extraction, published, stages)


def _pass(
    databases: Databases,
    settings: Settings,
    organization_ids: Sequence[UUID],
    completed: CompletedIn | None,
    on_progress: OnProgress | None,
) -> RefreshReport:
    require_schema(databases, settings)
    stages = Stages(on_progress)
    with refresh_lock(databases, settings), stages.timed("total"):
        extraction = extract(databases, settings, organization_ids, completed, stages)
        published = publish(databases, settings, extraction, stages)
    return _report(extraction, published, stages)


def _completed_in(since: datetime, until: datetime) -> CompletedIn:
    if since >= until:
        raise InvalidRange(f"({since.isoformat()} is not before {until.isoformat()})")
    return CompletedIn(since, until)


def _report(extraction: Extraction, published: Published, stages: Stages) -> RefreshReport:
    return RefreshReport(
        organizations=len(extraction.organization_ids),
        jobs_read=extraction.jobs_read,
        facts_inserted=extraction.absorbed.inserted,
        facts_updated=extraction.absorbed.updated,
        facts_deleted=extraction.absorbed.deleted,
        cells_computed=published.computed,
        cells_written=published.written,
        cells_deleted=published.deleted,
        anomalies=extraction.found.height,
        seconds={stage: round(taken, 3) for stage, taken in stages.seconds.items()},
    )
