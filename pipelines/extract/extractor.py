"""From the source to the facts: read what changed, judge it, merge it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pipelines.extract.jobs import JobReading
from pipelines.extract.reading import RowsReading
from pipelines.extract.request import Extraction, Findings, Request
from pipelines.facts.fact_table import Absorbed, Facts, open_facts
from pipelines.facts.spool import Spool, temporary_spool
from pipelines.fault_points import FaultPoint, passing
from pipelines.postgres.connections import Run
from pipelines.source.rows import SourceRowsOf
from pipelines.source.snapshot import SourceSnapshot, open_source
from pipelines.state.dimension_tables import find_moved
from pipelines.state.time_zones import find_calendar
from pipelines.state.watermarks import Watermarks, disown_lost_versions, find_watermarks
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.subject import Subject


def extract(run: Run, request: Request, subject: Subject) -> Extraction | None:
    """Merge into the facts what changed since the checkpoints, and what a comparison finds to differ.

    None where the source has no such rows that may be read. The caller holds the refresh lock. Raises
    `UnknownOrganization`, `SourceMissing`, `FactsUnusable`, `FactsConflict`.
    """
    with gather(run, request, subject) as (extraction, spool):
        if extraction is None:
            return None
        with run.stages.timed("facts"):
            absorbed = _absorb(run, extraction, spool)
        passing(FaultPoint.FACTS_ABSORBED)
        return replace(extraction, absorbed=absorbed, seconds=run.stages.seconds)


@contextmanager
def gather(
    run: Run, request: Request, subject: Subject, *, dry: bool = False
) -> Iterator[tuple[Extraction | None, Spool]]:
    """Read what `extract` would merge, and merge nothing: yield it with the spooled rows.

    A `dry` run changes neither the facts nor what is on record of them.
    """
    read = _read_rows if subject.source else _read_jobs
    with temporary_spool(run.settings.home, subject.fact) as spool:
        with (
            run.stages.timed(subject.stage("extract")),
            open_source(run.databases.source_url, run.settings) as source,
        ):
            extraction = read(run, request, source, spool, subject, dry=dry)
        passing(FaultPoint.SNAPSHOT_CLOSED)
        run.stages.seconds[subject.stage("snapshot")] = source.seconds
        run.stages.seconds[subject.stage("longest_statement")] = source.longest_statement_s
        yield extraction, spool


def _prepared(run: Run, subject: Subject, *, dry: bool) -> tuple[Facts, Watermarks]:
    """The facts, and the watermarks that go with them."""
    facts = open_facts(run.settings, subject.fact)
    if not dry:
        facts.add_columns()
    passing(FaultPoint.FACTS_OPENED)
    with run.analytics() as analytics:
        seen = find_watermarks(analytics, subject) if dry else disown_lost_versions(analytics, facts, subject)
    passing(FaultPoint.LOST_VERSIONS_DISOWNED)
    return facts, seen


def _read_jobs(
    run: Run, request: Request, source: SourceSnapshot, spool: Spool, subject: Subject, *, dry: bool
) -> Extraction:
    passing(FaultPoint.SNAPSHOT_OPENED)
    facts, seen = _prepared(run, subject, dry=dry)
    reading = JobReading(run, request, source, facts, spool, seen)
    calendar = reading.calendar()
    names = find_moved(run, source.names(reading.named))
    passing(FaultPoint.NAMES_READ)
    reading.read_changes(names)
    passing(FaultPoint.JOBS_READ)
    guarded = reading.read_what_is_gone()
    return Extraction(
        subject=subject,
        checkpoint=source.checkpoint(),
        extracted_at=source.moment.extracted_at,
        calendar=calendar,
        organization_ids=reading.organization_ids(),
        seen=seen,
        swept=frozenset(reading.swept.horizons) | reading.orphans,
        recounted=reading.recounted,
        guarded=guarded,
        request=request,
        rows_read=spool.rows,
        facts=facts,
        complete_through=reading.complete_through(),
        findings=Findings(names, reading.found(), reading.healed()),
    )


def _read_rows(
    run: Run, request: Request, source: SourceSnapshot, spool: Spool, subject: Subject, *, dry: bool
) -> Extraction | None:
    """Organizations whose jobs were never published are left for later; days begin where those of jobs do."""
    rows = SourceRowsOf(source, run.settings, subject)
    if not rows.is_readable:
        return None
    facts, seen = _prepared(run, subject, dry=dry)
    with run.analytics() as analytics:
        known, calendar = find_watermarks(analytics, JOBS), find_calendar(analytics)
    scope = tuple(sorted(known.keys() & set(request.organization_ids or known)))
    reading = RowsReading(run, request, rows, facts, spool)
    cursors = {
        key: rows.cursor(was.checkpoint, was.extracted_at)
        if was and was.knows(facts)
        else rows.cursor(None, None)
        for key, was in ((key, seen.get(key)) for key in scope)
    }
    guarded = reading.read(cursors, request.within(calendar, scope))
    passing(FaultPoint.STEPS_READ)
    return Extraction(
        subject=subject,
        checkpoint=rows.checkpoint(),
        extracted_at=source.moment.extracted_at,
        calendar=calendar,
        organization_ids=scope,
        seen=seen,
        swept=frozenset(scope),
        guarded=guarded,
        request=request,
        rows_read=spool.rows,
        not_counted=reading.not_counted,
        facts=facts,
        complete_through=dict.fromkeys(scope, source.moment.extracted_at),
        sealed_before=reading.sealed_before,
    )


def _absorb(run: Run, extraction: Extraction, spool: Spool) -> Absorbed:
    facts, fact = extraction.facts, extraction.subject.fact
    # Chunks share no row, so while the first ones fill an empty table there is nothing to look up.
    absorb = facts.fill if facts.empty else facts.absorb
    absorbed = Absorbed()
    for chunk in spool.chunks(fact.order):
        absorbed += absorb(chunk)
        run.stages.tell("facts", absorbed.inserted + absorbed.updated + absorbed.tombstones)
    return absorbed
