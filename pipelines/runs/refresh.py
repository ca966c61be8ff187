"""One pass from the source to the aggregates, one at a time: gather, compute, apply."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from pipelines.calendars.moments import DayOrTime
from pipelines.errors import TooManyFailures, UnknownOrganization
from pipelines.extract.extractor import extract
from pipelines.extract.request import CompletedIn, Extraction, Request
from pipelines.facts.health import with_new_facts
from pipelines.postgres.connections import Run, connections_reused
from pipelines.postgres.schema_checks import require_analytics, require_schema
from pipelines.publish.publisher import Published, publish
from pipelines.publish.recompute import rebuild_stale, repair_range
from pipelines.settings import Settings
from pipelines.state.lock import refresh_lock
from pipelines.state.watermarks import find_watermarks
from pipelines.subjects import SUBJECTS
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import Subject


@dataclass(frozen=True)
class FailedOrganization:
    """An organization whose metrics stay as they were and the class of its failure; a later pass retries."""

    organization_id: UUID
    error_class: str


@dataclass(frozen=True)
class SubjectReport:
    """What one pass did for one subject; `not_counted` are rows that were read and may not be counted.

    `anomalies` are those that were seen, for jobs.
    """

    organizations: int
    rows_read: int
    not_counted: int
    facts_inserted: int
    facts_updated: int
    facts_deleted: int
    cells_computed: int
    cells_written: int
    cells_deleted: int
    cells_restated: int
    anomalies: int
    failed: tuple[FailedOrganization, ...]


@dataclass(frozen=True)
class RefreshReport(SubjectReport):
    """What one pass did for jobs, and for `steps`; `seconds` has the time of each stage, and the total.

    Stages of steps end in `_steps`. Compute and publish overlap, so the stages may add up to more than the
    total. `snapshot` is how long the source's snapshot was open, and `longest_statement` what its longest
    statement took. `steps` is None where the source has no logs, and where they are measured apart.
    """

    steps: SubjectReport | None
    seconds: dict[str, float]


def refresh(
    run: Run,
    *,
    organization_ids: Sequence[UUID] = (),
) -> RefreshReport:
    """Bring facts and aggregates up to date with what changed in the source since the last pass.

    No `organization_ids` means all of them. Raises `UnknownOrganization`, `SchemaMissing`,
    `SourceMissing`, `AnotherRunHoldsTheLock`, `TooManyFailures`.
    """
    return _pass(run, Request(tuple(organization_ids)))


def reconcile(
    run: Run,
    *,
    since: DayOrTime,
    until: DayOrTime,
    organization_ids: Sequence[UUID] = (),
    accept_deletes: bool = False,
) -> RefreshReport:
    """A refresh that also makes everything completed in [since, until) equal the source again.

    Dates and times without an offset go by the clocks of each organization.
    Days whose checksums differ between source and facts are read anew, so that rows deleted
    from the source leave the aggregates too: where they are suspiciously many, only if `accept_deletes`.
    Stored cells that reach into the range are what the facts say afterwards, whatever wrote them.
    Raises as `refresh` does, and `InvalidRange`.
    """
    completed = CompletedIn(since, until)
    request = Request(tuple(organization_ids), completed=completed, accept_deletes=accept_deletes)
    return _pass(run, request)


def reconcile_created(
    run: Run,
    *,
    since: date | None = None,
    organization_ids: Sequence[UUID] = (),
    accept_deletes: bool = False,
) -> RefreshReport:
    """A refresh that also makes everything created since a day equal the source again; None, everything."""
    request = Request(
        tuple(organization_ids),
        created_since=since,
        everything=since is None,
        accept_deletes=accept_deletes,
    )
    return _pass(run, request)


@connections_reused()
def rebuild(run: Run) -> dict[str, Published]:
    """Compute every cell anew that is of an older definition, by subject; see `rebuild_stale`.

    Raises `SchemaMissing`, `AnotherRunHoldsTheLock`, `PublishConflict`.
    """
    require_analytics(run)
    with refresh_lock(run):
        return {subject.name: rebuild_stale(run, subject) for subject in SUBJECTS}


@connections_reused()
def extract_changes(run: Run, request: Request) -> Extraction:
    """The first half of a pass over the jobs.

    The facts are up to date afterwards; nothing is published, and nothing is lost if it never is.
    """
    require_schema(run)
    with refresh_lock(run), run.stages.timed("total"):
        extraction = with_new_facts(
            run.settings.facts_location, JOBS.fact, lambda: extract(run, request, JOBS)
        )
    assert extraction
    return replace(extraction, seconds=run.stages.seconds)


@connections_reused()
def publish_changes(run: Run, extraction: Extraction) -> RefreshReport:
    """The second half of a pass; raises `PublishConflict` when another run published since the first."""
    run.stages.add(extraction.seconds)
    with refresh_lock(run), run.stages.timed("total"):
        newest = extraction.with_newest_facts(run.settings)
        jobs = _report(newest, _published(run, newest))
    return _refresh_report(run, jobs)


@connections_reused()
def measure_steps(run: Run, request: Request) -> SubjectReport | None:
    """The steps alone, of organizations whose jobs were published; None where the source has no logs.

    Raises `UnknownOrganization` for one that was not.
    """
    require_schema(run)
    with run.analytics() as analytics:
        unknown = sorted(set(request.organization_ids) - find_watermarks(analytics, JOBS).keys())
    if unknown:
        raise UnknownOrganization(f"({', '.join(map(str, unknown))})")
    with refresh_lock(run):
        steps = refresh_subject(run, request, STEPS)
    _require_few_failures(run.settings, steps, STEPS)
    return steps


def refresh_subject(run: Run, request: Request, subject: Subject) -> SubjectReport | None:
    """Bring one subject up to date; None where the source has no such rows that may be read.

    A comparison that is asked for covers rows that ended in a range, of days, or ever. The caller holds the
    refresh lock. Raises `UnknownOrganization`, `SourceMissing`, `PublishConflict`.
    """

    def whole_pass() -> SubjectReport | None:
        extraction = extract(run, request, subject)
        return _report(extraction, _published(run, extraction)) if extraction else None

    return with_new_facts(run.settings.location_of(subject.fact.table), subject.fact, whole_pass)


@connections_reused()
def _pass(run: Run, request: Request) -> RefreshReport:
    require_schema(run)
    with refresh_lock(run), run.stages.timed("total"):
        jobs, steps = (refresh_subject(run, request, subject) for subject in SUBJECTS)
    assert jobs
    return _refresh_report(run, jobs, steps)


def _published(run: Run, extraction: Extraction) -> Published:
    subject, completed = extraction.subject, extraction.request.completed
    published = publish(run, extraction) + rebuild_stale(run, subject)
    if completed:
        published += repair_range(run, subject, extraction.organization_ids, completed)
    return published


def _report(extraction: Extraction, published: Published) -> SubjectReport:
    return SubjectReport(
        organizations=len(extraction.organization_ids),
        rows_read=extraction.rows_read,
        not_counted=extraction.not_counted,
        facts_inserted=extraction.absorbed.inserted,
        facts_updated=extraction.absorbed.updated,
        facts_deleted=extraction.absorbed.tombstones,
        cells_computed=published.computed,
        cells_written=published.written,
        cells_deleted=published.deleted,
        cells_restated=published.restated,
        anomalies=extraction.findings.found.height if extraction.findings else 0,
        failed=tuple(FailedOrganization(key, published.failed[key]) for key in sorted(published.failed)),
    )


def _refresh_report(run: Run, jobs: SubjectReport, steps: SubjectReport | None = None) -> RefreshReport:
    _require_few_failures(run.settings, jobs, JOBS)
    _require_few_failures(run.settings, steps, STEPS)
    seconds = {stage: round(taken, 3) for stage, taken in run.stages.seconds.items()}
    return RefreshReport(**vars(jobs), steps=steps, seconds=seconds)


def _require_few_failures(settings: Settings, report: SubjectReport | None, subject: Subject) -> None:
    failed = report.failed if report else ()
    if report and len(failed) * 100 > settings.tolerated_failures_pct * report.organizations:
        names = ", ".join(f"{each.organization_id} {each.error_class}" for each in failed[:20])
        raise TooManyFailures(f"({subject.name} of {len(failed)} of {report.organizations}: {names})")
