"""Keeping the partitions of execution_logs: months made ahead, lines where they belong, old months gone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from pipelines.executions import log_partitions as partitions
from pipelines.executions.log_archive import Month, months_from, sweep_archives, verify_archive
from pipelines.facts.fact_table import open_facts
from pipelines.facts.health import reading_facts
from pipelines.facts.merge import checksums, differing_days
from pipelines.frames import uuids
from pipelines.postgres.connections import Connection, Run, connect
from pipelines.publish.publisher import find_unpublished
from pipelines.settings import Settings
from pipelines.source.rows import SourceRowsOf
from pipelines.source.snapshot import open_source
from pipelines.state.lock import refresh_lock
from pipelines.state.watermarks import find_watermarks
from pipelines.subjects.steps import STEPS

# Why the steps of a month are not all in published metrics, or None when they are.
Unpublished = Callable[[Month], str | None]


@dataclass(frozen=True)
class LogsReport:
    """What was done; `left_alone` says why nothing was."""

    left_alone: str | None = None
    months_made: tuple[str, ...] = ()
    lines_moved: int = 0
    indexes_built: tuple[str, ...] = ()
    months_dropped: tuple[str, ...] = ()
    months_held_back: Mapping[str, str] = field(default_factory=dict)
    archive_verified: str | None = None
    archives_swept: int = 0


def keep_logs(
    run: Run,
    *,
    unpublished: Unpublished | None = None,
    now: datetime | None = None,
) -> LogsReport:
    """Make the partitions of this month and of EXECMETRICS_LOG_MONTHS_AHEAD, and let go of old ones.

    Lines that came before their partition are moved into it; those of a month further ahead, which only
    a wrong clock writes, stay in the default partition. Months go when they ended longer than
    EXECMETRICS_KEEP_LOGS ago and all their steps are published. Each call reads one archive whole, in turn.
    Raises `LogPartitionsInUse`, `LogArchiveNotWritten`, `LogArchiveUnusable` and `AnotherRunHoldsTheLock`.
    """
    moment = now or datetime.now(UTC)
    with connect(run.databases.source_url, run.settings, autocommit=True) as connection:
        left_alone = partitions.why_not_ours(connection)
        if left_alone:
            return LogsReport(left_alone)
        ahead = _months_ahead(run.settings, moment)
        late = [month for month in partitions.find_months_without(connection) if month < ahead[-1].next]
        made = partitions.make_partitions(connection, [*ahead, *late])
        built = partitions.complete_indexes(connection, run.settings)
        tried = _drop_old(connection, run, moment, unpublished)
        archives = partitions.find_archives(connection)
        verified = None
        if archives:
            # Another one every day, so that damage is found while there is a backup.
            archive = archives[moment.toordinal() % len(archives)]
            verify_archive(archive)
            verified = str(archive.month)
        swept, references = 0, [archive.reference for archive in archives]
        if run.settings.log_archive_url is not None:
            swept = sweep_archives(run.settings.log_archive_url, references, moment)
    return LogsReport(
        months_made=tuple(map(str, made)),
        lines_moved=sum(made.values()),
        indexes_built=built,
        months_dropped=tuple(str(month) for month, held in tried.items() if held is None),
        months_held_back={str(month): held for month, held in tried.items() if held is not None},
        archive_verified=verified,
        archives_swept=swept,
    )


def make_months_ahead(run: Run) -> tuple[str, ...]:
    """Make the partitions of this month and of EXECMETRICS_LOG_MONTHS_AHEAD; return those that were missing.

    None where the logs are not ours. Raises `LogPartitionsInUse`.
    """
    with connect(run.databases.source_url, run.settings, autocommit=True) as connection:
        if partitions.why_not_ours(connection):
            return ()
        made = partitions.make_partitions(connection, _months_ahead(run.settings, datetime.now(UTC)))
    return tuple(map(str, made))


def _months_ahead(settings: Settings, moment: datetime) -> list[Month]:
    return list(months_from(Month.of(moment), settings.log_months_ahead + 1))


def _drop_old(
    connection: Connection, run: Run, moment: datetime, unpublished: Unpublished | None
) -> dict[Month, str | None]:
    """Drop the months that are old enough; return each of them, and why it was held back."""
    kept, archive = run.settings.keep_logs, run.settings.log_archive_url
    months = [] if kept is None else partitions.find_months(connection)
    old = [month for month in months if kept is not None and month.end <= moment - kept]
    if not old:
        return {}

    def waits(month: Month) -> str | None:
        return why_unpublished(run, month.start, month.end)

    with refresh_lock(run):
        return {each: partitions.drop_month(connection, each, archive, unpublished or waits) for each in old}


def why_unpublished(run: Run, since: datetime, until: datetime) -> str | None:
    """What keeps the lines of [since, until) from being dropped; None when all their steps are published.

    The caller holds the refresh lock, and keeps others from writing these lines.
    """
    fact, settings = STEPS.fact, run.settings
    with (
        open_source(run.databases.source_url, settings) as source,
        reading_facts(settings.step_facts_location, fact),
    ):
        steps = SourceRowsOf(source, settings, STEPS)
        if not steps.is_readable:
            return "the steps cannot be read"
        there = steps.checksums(None, since, until)
        facts = open_facts(settings, fact)
        here = facts.scan().filter(pl.col(fact.time).is_between(since, until, closed="left"))
        days = differing_days(there, checksums(here, fact.partition_column), fact.partition_column)
        if days.height:
            return f"days of organizations that are not as the last refresh read them: {days.height:,}"
        with run.analytics() as analytics:
            seen = find_watermarks(analytics, STEPS)
        mine = {key: seen.get(key) for key in uuids(there["organization_id"].unique())}
        shown = {key: each for key, each in mine.items() if each and each.shows(facts)}
        if len(shown) < len(mine):
            others = len(mine) - len(shown)
            return f"organizations whose steps were not published from these facts: {others:,}"
        waiting = find_unpublished(facts, STEPS, shown)
        return "steps were read that are not published yet" if waiting else None
