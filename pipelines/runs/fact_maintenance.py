"""Keeping the files of the facts few, without losing what has not been published."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from pipelines.facts.delta import JOB_FACTS, STEP_FACTS, Kind, location_of, opened
from pipelines.facts.fact_table import Facts, open_facts
from pipelines.facts.folder import find_set_aside, remove_folder
from pipelines.facts.health import examine
from pipelines.fault_points import FaultPoint, passing
from pipelines.postgres.connections import Connection, Databases, connect, connections_reused
from pipelines.postgres.schema_checks import require_analytics
from pipelines.settings import Settings
from pipelines.source.snapshot import open_source
from pipelines.source.steps import StepSource
from pipelines.state.lock import refresh_lock
from pipelines.state.step_watermarks import (
    disown_lost_step_versions,
    forget_published_steps,
)
from pipelines.state.watermarks import Shown, disown_lost_versions, forget_published


@dataclass(frozen=True)
class TidyReport:
    """How many small files were merged into larger ones, how many old ones and how many gone rows went.

    Those of jobs and of steps together. The organizations forgotten are those that will be published from
    the facts as a whole.
    """

    files_merged: int
    files_removed: int
    gone_removed: int
    organizations_forgotten: int

    def __add__(self, other: "TidyReport") -> "TidyReport":
        return TidyReport(
            self.files_merged + other.files_merged,
            self.files_removed + other.files_removed,
            self.gone_removed + other.gone_removed,
            self.organizations_forgotten + other.organizations_forgotten,
        )


@connections_reused()
def tidy_facts(databases: Databases, settings: Settings) -> TidyReport:
    """Merge small files; remove what nobody needs any more: replaced files, and jobs gone for long.

    An organization whose publishing fails holds the files of the changes that it lacks, but no longer than
    `feed_retention`. Raises `SchemaMissing`, `AnotherRunHoldsTheLock`, `FactsUnusable`, `FactsConflict`.
    """
    require_analytics(databases, settings)
    with refresh_lock(databases, settings):
        tidied = _tidied(databases, settings, _JOBS)
        if opened(settings.step_facts_location, STEP_FACTS) is None:
            return tidied
        return tidied + _tidied(databases, settings, _STEPS)


@dataclass(frozen=True)
class _Books:
    """What is on record of how a table of facts was published, and before when the source may lack rows."""

    kind: Kind
    disown: Callable[[Connection, Facts], Mapping[UUID, Shown]]
    forget: Callable[[Connection, Collection[UUID]], object]
    sealed_before: Callable[[Databases, Settings], datetime | None]


def _steps_sealed_before(databases: Databases, settings: Settings) -> datetime | None:
    with open_source(databases.source_url, settings) as source:
        return StepSource(source, settings).sealed_before()


_JOBS: Final = _Books(
    JOB_FACTS, disown_lost_versions, forget_published, lambda _, settings: settings.sealed_before_at
)
_STEPS: Final = _Books(STEP_FACTS, disown_lost_step_versions, forget_published_steps, _steps_sealed_before)


def _tidied(databases: Databases, settings: Settings, books: _Books) -> TidyReport:
    location, facts = location_of(settings, books.kind), open_facts(settings, books.kind)
    # Damage in a file that nobody reads is found in time, and is not merged into one that looks sound.
    examine(location, kind=books.kind)
    expired = datetime.now(UTC) - settings.feed_retention
    with connect(databases.analytics_url, settings) as connection:
        progress = books.disown(connection, facts)
        forgotten = _behind_since(expired, facts, progress)
        books.forget(connection, forgotten)
        passing(FaultPoint.LOST_VERSIONS_DISOWNED)
    gone = facts.purge_gone(expired)
    merged = facts.compact()
    removed = facts.vacuum(settings.feed_retention)
    old = [folder for folder, since in find_set_aside(location).items() if since < expired]
    # Who waits to be published from the new facts may need the old ones, as sealed history does.
    replaced = all(seen.knows(facts) for seen in progress.values())
    if old and replaced and books.sealed_before(databases, settings) is None:
        removed += sum(map(remove_folder, old))
    return TidyReport(merged, removed, gone, len(forgotten))


def _behind_since(moment: datetime, facts: Facts, progress: Mapping[UUID, Shown]) -> list[UUID]:
    """The organizations that lack a change which was made before that moment."""
    shown = {key: seen.published_version for key, seen in progress.items() if seen.shows(facts)}
    pending = {version: facts.pending_since(version) for version in set(shown.values())}
    too_old = {version for version, since in pending.items() if since and since < moment}
    return [key for key, version in shown.items() if version in too_old]
