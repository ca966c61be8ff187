"""Keeping the files of the facts few, without losing what has not been published."""

from dataclasses import dataclass

from pipelines.settings import Settings
from pipelines.storage.cursors import find_progress
from pipelines.storage.database import Databases, connect
from pipelines.storage.facts import open_facts
from pipelines.storage.lock import refresh_lock


@dataclass(frozen=True)
class TidyReport:
    """How many small files were merged into larger ones, and how many old ones removed."""

    files_merged: int
    files_removed: int


def tidy_facts(databases: Databases, settings: Settings) -> TidyReport:
    """Merge small files; remove replaced ones after a week, unless an organization still needs them.

    An organization that was not published for a while needs the change feed since then.
    """
    with refresh_lock(databases, settings):
        with connect(databases.analytics_url, settings) as connection:
            published = [
                progress.facts_version
                for progress in find_progress(connection).values()
                if progress.facts_version is not None
            ]
        facts = open_facts(settings)
        everybody_is_current = all(version == facts.version for version in published)
        merged = facts.compact()
        removed = facts.vacuum() if everybody_is_current else 0
        return TidyReport(files_merged=merged, files_removed=removed)
