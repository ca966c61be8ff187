"""Keeping the files of the facts few, without losing what has not been published."""

from dataclasses import dataclass

from pipelines.settings import Settings
from pipelines.storage.cursors import disown_lost_versions, find_progress
from pipelines.storage.database import Databases, connect
from pipelines.storage.facts import open_facts
from pipelines.storage.lock import refresh_lock
from pipelines.storage.migrations import require_analytics


@dataclass(frozen=True)
class TidyReport:
    """How many small files were merged into larger ones, and how many old ones removed."""

    files_merged: int
    files_removed: int


def tidy_facts(databases: Databases, settings: Settings) -> TidyReport:
    """Merge small files; remove replaced ones after a week, unless an organization still needs them.

    An organization that was not published for a while needs the change feed since then. Raises
    `SchemaMissing`, `AnotherRunHoldsTheLock`, `FactsUnusable`.
    """
    require_analytics(databases, settings)
    with refresh_lock(databases, settings):
        facts = open_facts(settings)
        with connect(databases.analytics_url, settings) as connection:
            disown_lost_versions(connection, facts)
            progress = find_progress(connection).values()
        # Whoever was published from another table is published anew, without the feed of this one.
        published = {was.facts_version for was in progress if was.facts_table_id == facts.table_id}
        everybody_is_current = published <= {facts.version}
        merged = facts.compact()
        removed = facts.vacuum() if everybody_is_current else 0
        return TidyReport(files_merged=merged, files_removed=removed)
