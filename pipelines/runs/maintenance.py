"""Removing what nobody needs: old cells and outcomes, replaced files of the facts, blobs without a row."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from pipelines.errors import BlobsInUse
from pipelines.executions.blobs import BlobStore
from pipelines.executions.transactions import rows
from pipelines.facts.delta import opened
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.folder import find_set_aside, remove_folder
from pipelines.facts.health import examine
from pipelines.fault_points import FaultPoint, passing
from pipelines.postgres.connections import Run, connect, connections_reused
from pipelines.postgres.schema_checks import has_definitions, require_analytics
from pipelines.source.rows import find_sealed_before
from pipelines.state.lock import refresh_lock
from pipelines.state.stored_cells import remove_cells, remove_outcomes, remove_restatements
from pipelines.state.watermarks import Watermarks, disown_lost_versions, forget_published
from pipelines.subjects import SUBJECTS
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.rollup import Period
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import Subject


@dataclass(frozen=True)
class RetentionReport:
    """How many rows were removed, of jobs; a setting that is off removes none."""

    hourly_cells: int
    restatements: int
    outcomes: int


@connections_reused()
def retain(run: Run, *, now: datetime | None = None) -> RetentionReport:
    """Remove hourly cells, restatements and outcomes that are older than EXECMETRICS_KEEP_... say.

    Hourly cells go a whole UTC day at a time, and do not come back when the setting is raised. Raises
    `SchemaMissing`, `AnotherRunHoldsTheLock`.
    """
    run, moment = run, now or datetime.now(UTC)
    require_analytics(run)
    with refresh_lock(run), run.analytics() as analytics:
        hours = restatements = outcomes = 0
        if run.settings.keep_hours is not None:
            midnight = (moment - run.settings.keep_hours).replace(hour=0, minute=0, second=0, microsecond=0)
            hours = remove_cells(analytics, SUBJECTS, Period.HOUR, midnight)[JOBS.name]
        if run.settings.keep_restatements is not None:
            restatements = remove_restatements(analytics, moment - run.settings.keep_restatements)
        if run.settings.keep_outcomes is not None:
            outcomes = remove_outcomes(analytics, moment - run.settings.keep_outcomes)
        passing(FaultPoint.BEFORE_COMMIT)
    passing(FaultPoint.AFTER_COMMIT)
    return RetentionReport(hours, restatements, outcomes)


@dataclass(frozen=True)
class TidyReport:
    """How many small files were merged into larger ones, and how many old files and tombstones removed.

    Those of jobs and of steps together. The organizations forgotten are those that will be published from
    the facts as a whole.
    """

    files_merged: int
    files_removed: int
    tombstones_removed: int
    organizations_forgotten: int


@connections_reused()
def tidy_facts(run: Run) -> TidyReport:
    """Merge small files; remove what is not needed any more: replaced files, and old tombstones.

    An organization whose publishing fails holds the files of the changes that it lacks, but no longer than
    `feed_retention`. Raises `SchemaMissing`, `AnotherRunHoldsTheLock`, `FactsUnusable`, `FactsConflict`.
    """
    require_analytics(run)
    with refresh_lock(run):
        tidied = [_tidied(run, JOBS)]
        if opened(run.settings.step_facts_location, STEPS.fact) is not None:
            tidied.append(_tidied(run, STEPS))
    return TidyReport(*map(sum, zip(*tidied, strict=True)))


def _tidied(run: Run, subject: Subject) -> tuple[int, int, int, int]:
    settings = run.settings
    location, facts = settings.location_of(subject.fact.table), open_facts(settings, subject.fact)
    # Damage in a file that nobody reads is found in time, and is not merged into one that looks sound.
    examine(location, fact=subject.fact)
    expired = datetime.now(UTC) - settings.feed_retention
    with run.analytics() as connection:
        seen = disown_lost_versions(connection, facts, subject)
        forgotten = _behind_since(expired, facts, seen)
        forget_published(connection, subject, forgotten)
        passing(FaultPoint.LOST_VERSIONS_DISOWNED)
    tombstones = facts.purge_tombstones(expired)
    merged = facts.compact()
    removed = facts.vacuum(settings.feed_retention)
    old = [folder for folder, since in find_set_aside(location).items() if since < expired]
    # What waits to be published from the new facts may need the old ones, as sealed history does.
    replaced = all(each.knows(facts) for each in seen.values())
    if old and replaced and not (find_sealed_before(run, subject) or settings.sealed_before_at):
        removed += sum(map(remove_folder, old))
    return merged, removed, tombstones, len(forgotten)


def _behind_since(moment: datetime, facts: Facts, seen: Watermarks) -> list[UUID]:
    """The organizations that lack a change which was made before that moment."""
    shown = {key: each.published_version for key, each in seen.items() if each.shows(facts)}
    pending = {version: facts.pending_since(version) for version in set(shown.values())}
    too_old = {version for version, since in pending.items() if since and since < moment}
    return [key for key, version in shown.items() if version in too_old]


# A backup of the database that is restored within a day finds the blobs that its rows name.
GRACE: Final = timedelta(days=1)


@dataclass(frozen=True)
class SweepReport:
    """How many blobs were removed and how large they were, and how many are of organizations unknown here."""

    blobs_removed: int
    bytes_removed: int
    blobs_of_unknown_organizations: int


def sweep_blobs(run: Run, *, grace: timedelta = GRACE) -> SweepReport:
    """Remove the definitions that were written longer ago than `grace` and that no workflow names.

    Those of organizations that the database does not know are left alone: it may be the wrong database.
    Raises `BlobsInUse` while a unit of work that has written one is open, and `BlobsNotUsable`.
    """
    if not has_definitions(run):
        return SweepReport(0, 0, 0)
    blobs = BlobStore.of(run.settings)
    old = blobs.find_written_before(datetime.now(UTC) - grace)
    with connect(run.databases.source_url, run.settings) as connection:
        # Until the end: what is about to be removed is not written again, and named, meanwhile.
        ((owned,),) = (row.values() for row in rows(connection, "executions/own_blobs", {}))
        if not owned:
            raise BlobsInUse
        judged = rows(connection, "executions/judge_blobs", {"references": list(old)})
        orphans = [row["reference"] for row in judged if row["is_known"] and not row["is_named"]]
        blobs.delete(orphans)
    return SweepReport(
        blobs_removed=len(orphans),
        bytes_removed=sum(old[reference] for reference in orphans),
        blobs_of_unknown_organizations=sum(not row["is_known"] for row in judged),
    )
