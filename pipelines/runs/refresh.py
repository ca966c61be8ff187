"""One pass from the source to the aggregates, one at a time: gather, compute, apply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from pipelines.calendars.moments import DayOrTime, require_order
from pipelines.errors import TooManyFailures, UnknownOrganization
from pipelines.extract.extractor import CompletedIn, Extraction, Request, extract
from pipelines.facts.delta import JOB_FACTS
from pipelines.facts.health import with_new_facts
from pipelines.postgres.connections import Databases, connect, connections_reused
from pipelines.postgres.schema_checks import require_schema
from pipelines.progress import OnProgress, Stages
from pipelines.publish.publisher import Published, publish
from pipelines.publish.rebuild import rebuild_stale
from pipelines.publish.repair import repair_range
from pipelines.runs.step_refresh import StepsReport, refresh_steps
from pipelines.settings import Settings
from pipelines.state.lock import refresh_lock
from pipelines.state.watermarks import find_progress
from pipelines.subjects.outcomes import OutcomeOf


@dataclass(frozen=True)
class FailedOrganization:
    """Whose metrics stay as they were, and the class of what went wrong; the next pass tries again."""

    organization_id: UUID
    error_class: str


@dataclass(frozen=True)
class RefreshReport:
    """What one pass did; `seconds` has the stages extract, facts, compute and publish, and the total.

    Compute and publish overlap, so the stages may add up to more than the total. `snapshot` is how long
    the source's snapshot was open, and `longest_statement` what its longest statement took. `steps` is None
    where the source has no logs, and where they are measured apart.
    """

    organizations: int
    jobs_read: int
    facts_inserted: int
    facts_updated: int
    facts_deleted: int
    cells_computed: int
    cells_written: int
    cells_deleted: int
    cells_restated: int
    anomalies: int
    failed: tuple[FailedOrganization, ...]
    steps: StepsReport | None
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
    `SourceMissing`, `AnotherRunHoldsTheLock`, `TooManyFailures`.
    """
    return _pass(databases, settings, Request(tuple(organization_ids)), on_progress)


def reconcile(
    databases: Databases,
    settings: Settings,
    *,
    since: DayOrTime,
    until: DayOrTime,
    organization_ids: Sequence[UUID] = (),
    accept_deletes: bool = False,
    on_progress: OnProgress | None = None,
) -> RefreshReport:
    """A refresh that also makes everything completed in [since, until) equal the source again.

    Dates and times without an offset go by the clocks of each organization.
    Days that a digest of the source and of the facts finds to differ are read anew, so that rows deleted
    from the source leave the aggregates too: where they are suspiciously many, only if `accept_deletes`.
    Stored cells that reach into the range are what the facts say afterwards, whoever wrote them.
    Raises as `refresh` does, and `InvalidRange`.
    """
    request = Request(
        tuple(organization_ids), completed=completed_in(since, until), accept_deletes=accept_deletes
    )
    return _pass(databases, settings, request, on_progress)


def reconcile_created(
    databases: Databases,
    settings: Settings,
    *,
    since: date | None = None,
    organization_ids: Sequence[UUID] = (),
    accept_deletes: bool = False,
    on_progress: OnProgress | None = None,
) -> RefreshReport:
    """A refresh that also makes everything created since a day equal the source again; None, everything."""
    request = Request(
        tuple(organization_ids),
        created_since=since,
        everything=since is None,
        accept_deletes=accept_deletes,
    )
    return _pass(databases, settings, request, on_progress)


@connections_reused()
def extract_changes(
    databases: Databases, settings: Settings, request: Request, *, on_progress: OnProgress | None = None
) -> Extraction:
    """The first half of a pass.

    The facts are up to date afterwards; nothing is published, and nothing is lost if it never is.
    """
    require_schema(databases, settings)
    stages = Stages(on_progress)
    with refresh_lock(databases, settings), stages.timed("total"):
        extraction = with_new_facts(
            settings.facts_location, JOB_FACTS, lambda: extract(databases, settings, request, stages)
        )
    return replace(extraction, seconds=stages.seconds)


@connections_reused()
def measure_steps(
    databases: Databases, settings: Settings, request: Request, *, on_progress: OnProgress | None = None
) -> StepsReport | None:
    """The steps alone, of organizations whose jobs were published; None where the source has no logs.

    Raises `UnknownOrganization` for one that was not.
    """
    require_schema(databases, settings)
    with connect(databases.analytics_url, settings) as analytics:
        unknown = sorted(set(request.organization_ids) - find_progress(analytics).keys())
    if unknown:
        raise UnknownOrganization(f"({', '.join(map(str, unknown))})")
    with refresh_lock(databases, settings):
        steps = refresh_steps(databases, settings, request, Stages(on_progress))
    if steps:
        _require_few_failures(settings, steps.failed, steps.organizations, OutcomeOf.STEPS)
    return steps


@connections_reused()
def publish_changes(
    databases: Databases, settings: Settings, extraction: Extraction, *, on_progress: OnProgress | None = None
) -> RefreshReport:
    """The second half of a pass; raises `PublishConflict` when another run published since the first."""
    stages = Stages(on_progress, extraction.seconds)
    with refresh_lock(databases, settings), stages.timed("total"):
        published = _publish(databases, settings, extraction.with_newest_facts(settings), stages)
    return _report(settings, extraction, published, None, stages)


def completed_in(since: DayOrTime, until: DayOrTime) -> CompletedIn:
    """The jobs that completed in [since, until); raises `InvalidRange`."""
    require_order(since, until)
    return CompletedIn(since, until)


@connections_reused()
def _pass(
    databases: Databases, settings: Settings, request: Request, on_progress: OnProgress | None
) -> RefreshReport:
    require_schema(databases, settings)
    stages = Stages(on_progress)

    def whole_pass() -> tuple[Extraction, Published]:
        extraction = extract(databases, settings, request, stages)
        return extraction, _publish(databases, settings, extraction, stages)

    with refresh_lock(databases, settings), stages.timed("total"):
        extraction, published = with_new_facts(settings.facts_location, JOB_FACTS, whole_pass)
        steps = refresh_steps(databases, settings, request, stages)
    return _report(settings, extraction, published, steps, stages)


def _publish(databases: Databases, settings: Settings, extraction: Extraction, stages: Stages) -> Published:
    published = publish(databases, settings, extraction, stages)
    published += rebuild_stale(databases, settings, stages)
    completed = extraction.request.completed
    if completed:
        published += repair_range(databases, settings, extraction.organization_ids, completed, stages)
    return published


def _report(
    settings: Settings,
    extraction: Extraction,
    published: Published,
    steps: StepsReport | None,
    stages: Stages,
) -> RefreshReport:
    failed = tuple(FailedOrganization(key, published.failed[key]) for key in sorted(published.failed))
    organizations = len(extraction.organization_ids)
    _require_few_failures(settings, published.failed, organizations, OutcomeOf.JOBS)
    if steps:
        _require_few_failures(settings, steps.failed, steps.organizations, OutcomeOf.STEPS)
    return RefreshReport(
        organizations=organizations,
        jobs_read=extraction.jobs_read,
        facts_inserted=extraction.absorbed.inserted,
        facts_updated=extraction.absorbed.updated,
        facts_deleted=extraction.absorbed.gone,
        cells_computed=published.computed,
        cells_written=published.written,
        cells_deleted=published.deleted,
        cells_restated=published.restated,
        anomalies=extraction.found.height,
        failed=failed,
        steps=steps,
        seconds={stage: round(taken, 3) for stage, taken in stages.seconds.items()},
    )


def _require_few_failures(
    settings: Settings, failed: Mapping[UUID, str], organizations: int, subject: OutcomeOf
) -> None:
    if len(failed) * 100 > settings.tolerated_failures_pct * organizations:
        names = ", ".join(f"{key} {failed[key]}" for key in sorted(failed)[:20])
        raise TooManyFailures(f"({subject} of {len(failed)} of {organizations}: {names})")
