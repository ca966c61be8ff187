"""Where a run may be cut off: each place has a name, so that tests can cut it off just there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class FaultPoint(StrEnum):
    """In the order in which a run reaches them; what follows each may never happen."""

    LOCK_TAKEN = "lock taken"
    FACTS_SET_ASIDE = "facts set aside"
    FACTS_OPENED = "facts opened"
    LOST_VERSIONS_DISOWNED = "lost versions disowned"
    PROGRESS_READ = "progress read"
    SNAPSHOT_OPENED = "snapshot opened"
    CALENDAR_READ = "calendar read"
    NAMES_READ = "names read"
    CENSUS_READ = "census read"
    JOBS_STREAMING = "jobs streaming"
    JOBS_READ = "jobs read"
    CHECKSUMS_READ = "checksums read"
    GONE_JOBS_FOUND = "gone jobs found"
    SNAPSHOT_CLOSED = "snapshot closed"
    BEFORE_FACTS_COMMIT = "before facts commit"
    AFTER_FACTS_COMMIT = "after facts commit"
    FACTS_ABSORBED = "facts absorbed"
    STEPS_STREAMING = "steps streaming"
    STEPS_READ = "steps read"
    CALENDAR_KEPT = "calendar kept"
    FEED_READ = "feed read"
    BATCH_BEGUN = "batch begun"
    CHUNK_WRITTEN = "chunk written"
    LEFTOVERS_STAGED = "leftovers staged"
    CELLS_COMPUTED = "cells computed"
    CELLS_STAGED = "cells staged"
    RESTATEMENTS_KEPT = "restatements kept"
    EMPTIED_CELLS_DELETED = "emptied cells deleted"
    CELLS_UPSERTED = "cells upserted"
    NAMES_COPIED = "names copied"
    ANOMALIES_UNLISTED = "anomalies unlisted"
    ANOMALIES_LISTED = "anomalies listed"
    VERSION_PUBLISHED = "version published"
    REBUILD_SETTLED = "rebuild settled"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"
    FAILURE_RECORDED = "failure recorded"


Watcher = Callable[[FaultPoint], None]

_watchers: list[Watcher] = []


def passing(point: FaultPoint) -> None:
    """Say that the run is at this point; costs nothing unless somebody watches."""
    for watcher in _watchers:
        watcher(point)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Have every point of every run in this process told to `watcher`, which may raise."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)
