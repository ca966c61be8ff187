"""Keeping the files of the facts few, without losing what has not been published."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from pipelines.facts.delta import opened
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.folder import find_set_aside, remove_folder
from pipelines.facts.health import examine
from pipelines.fault_points import FaultPoint, passing
from pipelines.postgres.connections import Databases, Run, connections_reused
from pipelines.postgres.schema_checks import require_analytics
from pipelines.settings import Settings
from pipelines.source.rows import find_sealed_before
from pipelines.state.lock import refresh_lock
from pipelines.state.watermarks import Watermarks, disown_lost_versions, forget_published
from pipelines.subjects.jobs import JOBS
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import Subject


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

    def __add__(self, other: "TidyReport") -> "TidyReport":
        return TidyReport(
            self.files_merged + other.files_merged,
            self.files_removed + other.files_removed,
            self.tombstones_removed + other.tombstones_removed,
            self.organizations_forgotten + other.organizations_forgotten,
        )


@connections_reused()
def tidy_facts(databases: Databases, settings: Settings) -> TidyReport:
    """Merge small files; remove what is not needed any more: replaced files, and old tombstones.

    An organization whose publishing fails holds the files of the changes that it lacks, but no longer than
    `feed_retention`. Raises `SchemaMissing`, `AnotherRunHoldsTheLock`, `FactsUnusable`, `FactsConflict`.
    """
    require_analytics(databases, settings)
    run = Run(databases, settings)
    with refresh_lock(databases, settings):
        tidied = _tidied(run, JOBS)
        if opened(settings.step_facts_location, STEPS.fact) is None:
            return tidied
        return tidied + _tidied(run, STEPS)


def _tidied(run: Run, subject: Subject) -> TidyReport:
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
    return TidyReport(merged, removed, tombstones, len(forgotten))


def _behind_since(moment: datetime, facts: Facts, seen: Watermarks) -> list[UUID]:
    """The organizations that lack a change which was made before that moment."""
    shown = {key: each.published_version for key, each in seen.items() if each.shows(facts)}
    pending = {version: facts.pending_since(version) for version in set(shown.values())}
    too_old = {version for version, since in pending.items() if since and since < moment}
    return [key for key, version in shown.items() if version in too_old]
