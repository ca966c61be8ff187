"""Keeping the files of the facts few, without losing what has not been published."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from pipelines.fault_points import FaultPoint, passing
from pipelines.settings import Settings
from pipelines.storage.cursors import Progress, disown_lost_versions, find_progress, forget_published
from pipelines.storage.database import Databases, connect
from pipelines.storage.facts import Facts, open_facts
from pipelines.storage.facts_health import examine, remove_set_aside
from pipelines.storage.lock import refresh_lock
from pipelines.storage.migrations import require_analytics


@dataclass(frozen=True)
class TidyReport:
    """How many small files were merged into larger ones, how many old ones and how many gone jobs went.

    The organizations forgotten are those that will be published from the facts as a whole.
    """

    files_merged: int
    files_removed: int
    gone_removed: int
    organizations_forgotten: int


def tidy_facts(databases: Databases, settings: Settings) -> TidyReport:
    """Merge small files; remove what nobody needs any more: replaced files, and jobs gone for long.

    An organization whose publishing fails holds the files of the changes that it lacks, but no longer than
    `feed_retention`. Raises `SchemaMissing`, `AnotherRunHoldsTheLock`, `FactsUnusable`, `FactsConflict`.
    """
    require_analytics(databases, settings)
    with refresh_lock(databases, settings):
        facts = open_facts(settings)
        # Damage in a file that nobody reads is found in time, and is not merged into one that looks sound.
        examine(settings.facts_location)
        expired = datetime.now(UTC) - settings.feed_retention
        with connect(databases.analytics_url, settings) as connection:
            disown_lost_versions(connection, facts)
            forgotten = _behind_since(expired, facts, find_progress(connection))
            forget_published(connection, forgotten)
            passing(FaultPoint.LOST_VERSIONS_DISOWNED)
        gone = facts.purge_gone(expired)
        merged = facts.compact()
        removed = facts.vacuum(settings.feed_retention) + remove_set_aside(
            settings.facts_location, settings, expired
        )
        return TidyReport(merged, removed, gone, len(forgotten))


def _behind_since(moment: datetime, facts: Facts, progress: Mapping[UUID, Progress]) -> list[UUID]:
    """The organizations that lack a change which was made before that moment."""
    shown = {key: seen.published_version for key, seen in progress.items() if seen.shows(facts)}
    pending = {version: facts.pending_since(version) for version in set(shown.values())}
    too_old = {version for version, since in pending.items() if since and since < moment}
    return [key for key, version in shown.items() if version in too_old]
